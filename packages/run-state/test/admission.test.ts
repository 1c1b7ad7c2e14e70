import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type Activation,
  closeLease,
  openLease,
  type Partition,
  readDemand,
  renewLease,
} from '../src/index.ts';
import { parked } from './drafts.ts';
import { keyOf } from './inspect.ts';
import { END, HAND_OVER } from './steps.ts';
import { claim, freshPartition, submit, type Write } from './support.ts';

const WORKER = 'lease_worker';

const offer = async (
  partition: Partition,
  slots: number,
  leaseId = WORKER,
): Promise<readonly Activation[]> => {
  const outcome = await openLease(partition, { leaseId, leaseMs: 600_000, slots });
  assert.ok(outcome.type === 'live');
  return outcome.activations;
};

const backlog = async (
  partition: Partition,
  tenants: Record<string, number>,
): Promise<Map<string, string>> => {
  const tenantOf = new Map<string, string>();
  for (const [tenantId, count] of Object.entries(tenants)) {
    for (let i = 0; i < count; i += 1) {
      const { runId } = await submit(partition, { tenantId, rootRunId: 'run_root' });
      tenantOf.set(runId, tenantId);
    }
  }
  return tenantOf;
};

const admitted = (partition: Partition): Promise<number> =>
  partition.redis.zcard(keyOf(partition, 'admitted'));

for (const [slots, most] of [
  [0, 1],
  [1, 1],
  [3, 4],
  [9, 13],
  [10, 10],
  [200, 200],
] as const) {
  test(`with ${slots} slots reported at most ${most} runs of one tenant are admitted`, async () => {
    const partition = await freshPartition();
    await offer(partition, slots);
    await backlog(partition, { acme: most + 5 });
    assert.equal(await admitted(partition), most);
  });
}

test('slots of all workers count, those of a closed lease do not', async () => {
  const partition = await freshPartition();
  await offer(partition, 4, 'w1');
  await offer(partition, 4, 'w2');
  await closeLease(partition, 'w2');
  await backlog(partition, { acme: 20 });
  assert.equal(await admitted(partition), 6);
  await renewLease(partition, { leaseId: 'w1', leaseMs: 600_000, slots: 6 });
  assert.equal(await admitted(partition), 9, 'a renewal with more slots admits more');
});

test('tenants take turns: the backlog of one does not stand before another’s runs', async () => {
  const partition = await freshPartition();
  const tenantOf = await backlog(partition, { big: 100, small: 2 });
  const activations = await offer(partition, 4);
  const tenants = activations.map(({ runId }) => tenantOf.get(runId));
  assert.equal(tenants.length, 5, 'with the one that was admitted before');
  const small = tenants.slice(0, 4).filter((tenant) => tenant === 'small');
  assert.equal(small.length, 2, 'within the first few');
});

test('slots kept free for tenants with few runs at work start them at once, and are kept free again after', async () => {
  const partition = await freshPartition();
  await offer(partition, 40);
  const tenantOf = await backlog(partition, { big: 60, other: 60 });
  assert.equal(await admitted(partition), 44, 'the second tenant started in the spare slots');
  const first = [...tenantOf.keys()].slice(0, 4);
  for (const runId of first) await (await claim(partition, runId, { wakeSeq: 1 })).write(END);
  assert.equal(await admitted(partition), 40, 'and they are kept from both again');
  const started: Activation[] = [];
  for (let n = 0; n < 4; n += 1) {
    started.push(...(await submit(partition, { tenantId: 'small', rootRunId: 'run_root' })).activations);
  }
  assert.equal(started.length, 4, 'each at once');
  const late = await submit(partition, { tenantId: 'late', rootRunId: 'run_root' });
  assert.equal(late.activations.length, 1, 'prefetched, as all slots are given away');
  for (const { runId } of [...started, ...late.activations]) {
    const owner = await claim(partition, runId, { wakeSeq: 1 });
    assert.deepEqual((await owner.write(END)).activations, [], 'no run of a big tenant takes its place');
  }
  assert.equal(await admitted(partition), 40);
});

const PARK: Write = {
  announce: [parked('approval')],
  after: { type: 'park', reason: 'approval', wakeSeq: 1, dueMs: null, capacity: null },
};

for (const [name, write] of [
  ['finish', END],
  ['park', PARK],
  ['hand_over', HAND_OVER],
] as const) {
  test(`${name} admits the next run`, async () => {
    const partition = await freshPartition();
    const { activations } = await submit(partition);
    const next = await submit(partition, { tenantId: 'next' });
    assert.deepEqual(next.activations, []);
    const owner = await claim(partition, activations[0]?.runId ?? '', { wakeSeq: 1 });
    const reply = await owner.write(write);
    assert.deepEqual(reply.activations, [{ runId: next.runId, wakeSeq: 1 }]);
  });
}

test('thousands are admitted in one call', async () => {
  const partition = await freshPartition();
  const { redis } = partition;
  const first = await submit(partition);
  const pipeline = redis.pipeline();
  for (let i = 0; i < 9000; i += 1) {
    pipeline.hset(keyOf(partition, `run:r${i}`), 'status', 'queued', 'wake_seq', '1');
    pipeline.zadd(keyOf(partition, 'ready:many'), i, `r${i}`);
  }
  pipeline.zadd(keyOf(partition, 'turns'), 1, 'many');
  await pipeline.exec();
  const activations = await offer(partition, 10_000);
  assert.equal(activations.length, 9000);
  assert.equal(await admitted(partition), 9001);
  assert.equal(first.activations.length, 1);
});

test('demand counts what waits, by priority, and what is active', async () => {
  const partition = await freshPartition();
  await offer(partition, 2);
  await submit(partition, { priority: 'high' });
  await submit(partition, { priority: 'low' });
  await submit(partition, { dueMs: Date.now() + 60_000 });
  const { runId } = await submit(partition);
  await claim(partition, runId);
  const { oldestWaitingSeconds, ...demand } = await readDemand(partition, Date.now());
  assert.deepEqual(demand, {
    runnable: 3,
    waiting: 1,
    prioritized: 1,
    active: 1,
    parked: 1,
    delayed: 1,
    workers: 1,
    slots: 2,
    auditBacklog: 4,
    pressureLevel: 0,
  });
  assert.ok(oldestWaitingSeconds >= 0 && oldestWaitingSeconds < 60);
});

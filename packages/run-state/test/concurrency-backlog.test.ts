/** What a concurrency cap keeps back: demand leaves it out, and however much it is, it makes no call slow. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { startRedis, temporaryDir } from '@signalbox/local';
import { type Partition, readDemand, repair, setTenantCaps } from '../src/index.ts';
import { keyOf } from './inspect.ts';
import { capped, END, idsOf, REPAIR, submitAll, times, work } from './steps.ts';
import { claim, freshPartition, lease, openRedis, submit, TENANT } from './support.ts';

const demand = async (partition: Partition) => {
  const { runnable, waiting, active } = await readDemand(partition, Date.now());
  return { runnable, waiting, active };
};

for (const slots of [100, 0]) {
  test(`demand leaves out what a cap keeps back, with ${slots} slots`, async () => {
    const { partition, leaseId } = await capped({ userMaxRuns: 2 }, slots);
    const { activations } = await submitAll(partition, [...times(10, { userId: 'u1' }), ...times(2, {})]);
    assert.deepEqual(await demand(partition), { runnable: 4, waiting: 12, active: 0 });
    await work(partition, leaseId, activations[0]);
    assert.deepEqual(await demand(partition), { runnable: 4, waiting: 11, active: 1 });
    await setTenantCaps(partition, TENANT, { maxRuns: 3 });
    assert.equal((await demand(partition)).runnable, slots > 0 ? 4 : 3, 'those with a permit count');
    await setTenantCaps(partition, TENANT, { maxRuns: 0 });
    const { runnable, active } = await demand(partition);
    assert.ok(runnable >= active);
  });
}

test('demand never goes below what is active, though claims do not ask for a permit', async () => {
  const { partition } = await capped({ maxRuns: 1, userMaxRuns: 1 });
  const { runIds } = await submitAll(partition, times(5, { userId: 'u1' }));
  for (const runId of runIds.slice(0, 3)) {
    await claim(partition, runId, { wakeSeq: null, leaseId: 'lease_api', leaseMs: 60_000 });
  }
  assert.deepEqual(await demand(partition), { runnable: 3, waiting: 2, active: 3 });
});

/** Time a script call took on the server, by Redis's own account: the slowest since the last reset. */
const slowestMicros = async ({ redis }: Partition): Promise<number> => {
  const entries = (await redis.call('SLOWLOG', 'GET', '-1')) as [number, number, number, string[]][];
  return Math.max(
    0,
    ...entries.filter(([, , , [name]]) => /^eval/i.test(name ?? '')).map(([, , micros]) => micros),
  );
};

const BACKLOG = 10_000;
/** What one call may put aside; a bound on work, where a bound on time would depend on the machine. */
const MOST_PER_CALL = 500;

/** Written at once: all of it at once would take a busy machine longer than a command may. */
const CHUNK = 1000;

/** A backlog that was let into the line before its user had a cap. */
const giveBacklog = async (partition: Partition): Promise<void> => {
  const run = { status: 'queued', wake_seq: 1, tenant: TENANT, user: 'u1', rank: 1 };
  const { redis } = partition;
  for (let from = 0; from < BACKLOG; from += CHUNK) {
    const pipeline = redis.pipeline();
    for (let n = from; n < from + CHUNK; n += 1) {
      pipeline.hset(keyOf(partition, `run:b${n}`), run);
      for (const list of [`ready:${TENANT}`, `ready_user:${TENANT}:u1`, 'queued:1'])
        pipeline.zadd(keyOf(partition, list), n, `b${n}`);
    }
    await pipeline.exec();
  }
  await redis.zadd(keyOf(partition, 'turns'), 1, TENANT);
};

test(`a backlog of ${BACKLOG} runs of one user over its cap makes no call slow and delays nobody`, async (t) => {
  const server = await startRedis({ dir: await temporaryDir() });
  t.after(() => server.stop());
  const redis = await openRedis('state', server.url);
  const partition = await freshPartition(redis);
  const leaseId = await lease(partition, 100);
  const { activations } = await submitAll(partition, times(100, { userId: 'u1' }));
  assert.equal(activations.length, 100, 'the fleet is full but for what is kept for others');
  await giveBacklog(partition);
  await setTenantCaps(partition, TENANT, { userMaxRuns: 1 });
  const other = await submit(partition, { userId: 'u2' });
  const stranger = await submit(partition, { tenantId: 'other' });
  await redis.config('SET', 'slowlog-max-len', '100000');
  await redis.config('SET', 'slowlog-log-slower-than', '0');
  await redis.call('SLOWLOG', 'RESET');
  const admitted: string[] = [];
  const aside = [0];
  const heldBack = (): Promise<number> => redis.zcard(keyOf(partition, `held_back:${TENANT}:u1`));
  for (const activation of activations.slice(0, 25)) {
    const owner = await work(partition, leaseId, activation);
    admitted.push(...idsOf((await owner.write(END)).activations));
    aside.push(await heldBack());
  }
  admitted.push(...idsOf((await repair(partition, REPAIR)).activations));
  const micros = await slowestMicros(partition);
  process.stdout.write(`longest call ${(micros / 1000).toFixed(1)} ms\n`);
  assert.equal(stranger.activations.length, 1, 'another tenant waits for nothing');
  assert.deepEqual(admitted, [other.runId]);
  const most = Math.max(...aside.slice(1).map((now, i) => now - (aside[i] ?? 0)));
  assert.ok(most <= MOST_PER_CALL, `${most} runs put aside by one call`);
  assert.deepEqual(await demand(partition), { runnable: 77, waiting: BACKLOG + 77, active: 0 });
});

const USERS = 3000;
/** Of a user: one that holds the permit, and others that wait for it. */
const HELD_BACK = 2;

/** Users of one tenant at their caps, all of whose first runs are with workers. */
const fillUsers = async (partition: Partition): Promise<void> => {
  const pipeline = partition.redis.pipeline();
  for (let n = 0; n < USERS; n += 1) {
    pipeline.sadd(keyOf(partition, 'capped_users'), JSON.stringify([TENANT, `u${n}`]));
    for (let run = 0; run < HELD_BACK; run += 1) {
      for (const list of [`held_back:${TENANT}:u${n}`, 'queued:1'])
        pipeline.zadd(keyOf(partition, list), n, `r${n}-${run}`);
    }
  }
  await pipeline.exec();
};

test('demand looks at no list of a user, however many of them a cap keeps back', async (t) => {
  const server = await startRedis({ dir: await temporaryDir() });
  t.after(() => server.stop());
  const redis = await openRedis('state', server.url);
  const partition = await freshPartition(redis);
  await setTenantCaps(partition, TENANT, { userMaxRuns: 1 });
  await submitAll(partition, times(2, { userId: 'u' }));
  await fillUsers(partition);
  await redis.config('RESETSTAT');
  assert.deepEqual(await demand(partition), { runnable: 1, waiting: 2 + USERS * HELD_BACK, active: 0 });
  const calls = [...(await redis.info('commandstats')).matchAll(/:calls=(\d+)/g)];
  const commands = calls.reduce((sum, [, n]) => sum + Number(n), 0);
  assert.ok(commands < 100, `${commands} commands`);
});

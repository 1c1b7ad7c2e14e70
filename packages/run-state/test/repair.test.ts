import assert from 'node:assert/strict';
import { test } from 'node:test';
import { claimRun, closeLease, type Partition, repair, renewLease, wakeRun } from '../src/index.ts';
import { claimed, parked, succeeded } from './drafts.ts';
import { assertNoTraces, keyOf, record } from './inspect.ts';
import { GRACE } from './steps.ts';
import { claim, expireLease, freshPartition, lease, running, submit } from './support.ts';

const AT_ONCE = { limit: 100, graceMs: 0 };

/** Makes an activation look as if it had been given to the queue long ago. */
const backdateActivation = (partition: Partition, runId: string) =>
  partition.redis.zadd(keyOf(partition, 'admitted'), 'XX', 1, runId);

test('an expired lease is never renewed', async () => {
  const partition = await freshPartition();
  const leaseId = await lease(partition, 5);
  const renewal = { leaseId, leaseMs: 60_000, slots: 5 };
  assert.equal((await renewLease(partition, renewal)).type, 'live');
  await expireLease(partition, leaseId);
  assert.deepEqual(await renewLease(partition, renewal), { type: 'expired' });
  await repair(partition, GRACE);
  assert.deepEqual(await renewLease(partition, renewal), { type: 'expired' });
  assert.equal(await partition.redis.hget(keyOf(partition, 'slots'), leaseId), null);
});

test('runs of an expired lease are handed over under a new wakeSeq', async () => {
  const partition = await freshPartition();
  const leaseId = await lease(partition, 5);
  const owners = [await running(partition, {}, leaseId), await running(partition, {}, leaseId)];
  await expireLease(partition, leaseId);
  const repaired = await repair(partition, GRACE);
  assert.deepEqual([repaired.leases, repaired.lost], [1, 2]);
  assert.deepEqual(repaired.activations, [{ runId: repaired.activations[0]?.runId, wakeSeq: 2 }]);
  for (const { run } of owners) {
    const request = { runId: run.runId, leaseId: await lease(partition), token: 't' };
    assert.deepEqual(await claimRun(partition, { ...request, wakeSeq: 1 }), {
      type: 'refused',
      why: 'STALE',
    });
    const taken = await claimRun(partition, { ...request, wakeSeq: 2 });
    assert.ok(taken.type === 'claimed');
    assert.deepEqual([taken.run.epoch, taken.run.claims], [2, 2]);
  }
});

test('a closed lease hands its runs over at the next repair, and fences its owner at once', async () => {
  const partition = await freshPartition();
  const leaseId = await lease(partition, 5);
  const owner = await running(partition, {}, leaseId);
  await closeLease(partition, leaseId);
  assert.equal((await owner.write({ results: [claimed()] })).code, 'FENCED');
  assert.equal((await repair(partition, GRACE)).lost, 1);
  assert.equal((await record(partition, owner.run.runId))['status'], 'queued');
});

test('a closed lease without runs leaves nothing', async () => {
  const partition = await freshPartition();
  const leaseId = await lease(partition, 5);
  await closeLease(partition, leaseId);
  await closeLease(partition, leaseId);
  for (const key of ['leases', 'slots', `lease:${leaseId}`]) {
    assert.equal(await partition.redis.exists(keyOf(partition, key)), 0, key);
  }
});

test('an activation that reached no worker is added again after the grace, with the same wakeSeq', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition);
  assert.equal((await repair(partition, GRACE)).requeued, 0);
  await backdateActivation(partition, runId);
  const repaired = await repair(partition, GRACE);
  assert.deepEqual([repaired.requeued, repaired.activations], [1, [{ runId, wakeSeq: 1, again: true }]]);
  assert.equal((await repair(partition, GRACE)).requeued, 0, 'and then the grace begins anew');
});

test('a lost activation is found behind any number of long runs', async () => {
  const partition = await freshPartition();
  const leaseId = await lease(partition, 10);
  for (let i = 0; i < 5; i += 1) await running(partition, {}, leaseId);
  const { runId } = await submit(partition);
  const repaired = await repair(partition, { limit: 2, graceMs: 0 });
  assert.deepEqual(repaired.activations, [{ runId, wakeSeq: 1, again: true }]);
});

test('a timer fires once', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  const { runId } = owner.run;
  await owner.write({
    announce: [parked('timer')],
    after: { type: 'park', reason: 'timer', wakeSeq: 1, dueMs: 1000, capacity: null },
  });
  const first = await repair(partition, GRACE);
  assert.deepEqual([first.timers, first.activations], [1, [{ runId, wakeSeq: 2 }]]);
  assert.equal((await repair(partition, GRACE)).timers, 0);
  const next = await claim(partition, runId, { wakeSeq: 2 });
  // By the store's clock: the owner's own may be behind.
  const [note] = next.run.notes;
  assert.ok(note?.type === 'woken' && note.reason === 'timer');
  assert.ok((note.at ?? 0) >= 1000 && Math.abs((note.at ?? 0) - Date.now()) < 60_000);
});

test('a wake before its time takes the timer with it', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition, { dueMs: 1000 });
  assert.equal((await wakeRun(partition, runId, 'input')).woken, true);
  assert.equal((await repair(partition, GRACE)).timers, 0);
});

test('an ended and an unknown run cannot be woken', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  await owner.write({ announce: [succeeded()], after: { type: 'finish', status: 'succeeded' } });
  for (const runId of [owner.run.runId, 'run_unknown']) {
    assert.deepEqual(await wakeRun(partition, runId, 'input'), { woken: false, activations: [] });
  }
  await assertNoTraces(partition, owner.run.runId);
});

test('many repairs at once do what one does', async () => {
  const partition = await freshPartition();
  await lease(partition, 100);
  const dead = await lease(partition);
  const owner = await running(partition, {}, dead);
  const timed = await submit(partition, { dueMs: 1000 });
  await expireLease(partition, dead);
  const all = await Promise.all(Array.from({ length: 10 }, () => repair(partition, GRACE)));
  const total = (name: 'timers' | 'leases' | 'lost') => all.reduce((sum, one) => sum + one[name], 0);
  assert.deepEqual([total('timers'), total('leases'), total('lost')], [1, 1, 1]);
  const activations = all.flatMap((one) => one.activations).toSorted((a, b) => (a.runId < b.runId ? -1 : 1));
  assert.deepEqual(activations, [
    { runId: owner.run.runId, wakeSeq: 2 },
    { runId: timed.runId, wakeSeq: 2 },
  ]);
});

test('an activation delivered twice, or again after repair, is claimed once', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition);
  const again = (await repair(partition, AT_ONCE)).activations;
  assert.deepEqual(again, [{ runId, wakeSeq: 1, again: true }]);
  const claims = await Promise.all(
    ['t1', 't2'].map(async (token) =>
      claimRun(partition, { runId, wakeSeq: 1, leaseId: await lease(partition), token }),
    ),
  );
  assert.deepEqual(claims.map(({ type }) => type).toSorted(), ['claimed', 'refused']);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { claimRun, closeLease, type Partition, renewLease } from '../src/index.ts';
import { claimed, parked, requested, succeeded } from './drafts.ts';
import { assertNoTraces, keyOf, record } from './inspect.ts';
import { claim, expireLease, freshPartition, lease, running, submit } from './support.ts';

const tryClaim = async (
  partition: Partition,
  runId: string,
  request: { wakeSeq?: number | null; leaseId?: string; token?: string; leaseMs?: number } = {},
) => {
  const { wakeSeq = 1, leaseId = await lease(partition), token = crypto.randomUUID(), leaseMs } = request;
  return claimRun(partition, {
    runId,
    wakeSeq,
    leaseId,
    token,
    ...(leaseMs === undefined ? {} : { leaseMs }),
  });
};

const park = (partition: Partition) => async (runId: string) => {
  const owner = await claim(partition, runId, { wakeSeq: 1 });
  const after = {
    type: 'park',
    reason: 'approval',
    wakeSeq: owner.run.wakeSeq,
    dueMs: null,
    capacity: null,
  } as const;
  const reply = await owner.write({ results: [claimed()], announce: [parked('approval')], after });
  assert.equal(reply.code, 'OK');
};

test('a claim gives everything of a run and raises the epoch', async () => {
  const partition = await freshPartition();
  const { runId, submission } = await submit(partition, { contents: [['sha256:a', 'c2VhbGVk']] });
  const leaseId = await lease(partition);
  const outcome = await tryClaim(partition, runId, { leaseId });
  assert.ok(outcome.type === 'claimed');
  const { queuedMs, ...run } = outcome.run;
  assert.equal(String(queuedMs), (await record(partition, runId))['queued_ms']);
  assert.deepEqual(run, {
    runId,
    leaseId,
    epoch: 1,
    wakeSeq: 1,
    claims: 1,
    unopened: null,
    tenantId: 'acme',
    wrappedKey: 'wrapped-key',
    entries: submission.entries,
    contents: new Map([['sha256:a', 'c2VhbGVk']]),
    notes: [],
  });
});

test('an activation with an old wakeSeq is stale', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition);
  assert.deepEqual(await tryClaim(partition, runId, { wakeSeq: 2 }), { type: 'refused', why: 'STALE' });
});

test('a parked run is no activation’s, even with the same wakeSeq', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition);
  await park(partition)(runId);
  assert.deepEqual(await tryClaim(partition, runId, { wakeSeq: 1 }), { type: 'refused', why: 'STALE' });
});

test('a run with a live owner is leased', async () => {
  const partition = await freshPartition();
  const { run } = await running(partition);
  assert.deepEqual(await tryClaim(partition, run.runId), { type: 'refused', why: 'LEASED' });
  assert.deepEqual(await tryClaim(partition, run.runId, { wakeSeq: null, leaseMs: 5000 }), {
    type: 'refused',
    why: 'LEASED',
  });
  assert.equal((await record(partition, run.runId))['epoch'], '1');
});

test('an ended run is terminal and an unknown one not found', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  await owner.write({ announce: [succeeded()], after: { type: 'finish', status: 'succeeded' } });
  assert.deepEqual(await tryClaim(partition, owner.run.runId), { type: 'refused', why: 'TERMINAL' });
  assert.deepEqual(await tryClaim(partition, 'run_unknown'), { type: 'refused', why: 'NOT_FOUND' });
});

test('a claimer whose lease is over, closed or never opened gets nothing', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition);
  const expired = await lease(partition);
  await expireLease(partition, expired);
  const closed = await lease(partition);
  await closeLease(partition, closed);
  for (const leaseId of [expired, closed, 'lease_unknown']) {
    assert.deepEqual(await tryClaim(partition, runId, { leaseId }), { type: 'no_lease' });
  }
  assert.equal((await record(partition, runId))['status'], 'queued');
});

test('a claim resent after a lost reply finds its own: one epoch, one claim', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition);
  const leaseId = await lease(partition);
  const first = await tryClaim(partition, runId, { leaseId, token: 't1' });
  const again = await tryClaim(partition, runId, { leaseId, token: 't1' });
  assert.ok(first.type === 'claimed');
  assert.deepEqual(again, first);
});

test('only a claim raises the epoch, and each one does', async () => {
  const partition = await freshPartition();
  const first = await running(partition);
  const { runId } = first.run;
  await first.write({ results: [claimed()], announce: [requested(1)] });
  assert.equal((await record(partition, runId))['epoch'], '1');
  await expireLease(partition, first.run.leaseId);
  const second = await claim(partition, runId);
  assert.equal(second.run.epoch, 2);
  await expireLease(partition, second.run.leaseId);
  assert.equal((await claim(partition, runId)).run.epoch, 3);
});

test('when the owner’s lease has run out, the same activation takes the run over', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition);
  const old = await claim(partition, runId, { wakeSeq: 1 });
  await expireLease(partition, old.run.leaseId);
  const next = await claim(partition, runId, { wakeSeq: 1 });
  assert.equal(next.run.claims, 2, 'claims without progress are counted');
  const held = await partition.redis.smembers(keyOf(partition, `lease:${old.run.leaseId}`));
  assert.deepEqual(held, [], 'the old lease no longer holds it');
});

test('whoever must write claims a queued run without an activation, with a lease of its own', async () => {
  const partition = await freshPartition();
  await submit(partition);
  const { runId } = await submit(partition);
  const owner = await claim(partition, runId, { leaseId: 'own', leaseMs: 60_000 });
  await owner.write({ announce: [succeeded()], after: { type: 'finish', status: 'succeeded' } });
  await closeLease(partition, 'own');
  await assertNoTraces(partition, runId);
  assert.equal(await partition.redis.zscore(keyOf(partition, 'leases'), 'own'), null);
});

test('whoever must write claims a waiting run without an activation', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition);
  await park(partition)(runId);
  const owner = await claim(partition, runId, { leaseId: 'own', leaseMs: 60_000 });
  assert.equal(owner.run.epoch, 2);
  assert.equal(await partition.redis.zscore(keyOf(partition, 'parked'), runId), null);
  await owner.write({ announce: [succeeded()], after: { type: 'finish', status: 'succeeded' } });
  await assertNoTraces(partition, runId);
});

test('a lease opened by a claim ends like any other', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition);
  await claim(partition, runId, { leaseId: 'own', leaseMs: 60_000 });
  await expireLease(partition, 'own');
  assert.deepEqual(await renewLease(partition, { leaseId: 'own', leaseMs: 1000, slots: 0 }), {
    type: 'expired',
  });
  assert.equal((await claim(partition, runId)).run.epoch, 2);
});

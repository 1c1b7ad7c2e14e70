import assert from 'node:assert/strict';
import { test } from 'node:test';
import { waitFor } from '@signalbox/local';
import { type Commit, type Partition, requestAbort, setTenantCaps, wakeRun } from '../src/index.ts';
import {
  aborted,
  abortRequested,
  claimed,
  completed,
  DAY,
  FLAG,
  handedOver,
  parked,
  requested,
  succeeded,
  woken,
} from './drafts.ts';
import {
  assertNoTraces,
  auditedEntries,
  eventTypes,
  journal,
  keyOf,
  money,
  record,
  snapshot,
} from './inspect.ts';
import {
  claim,
  expireLease,
  freshPartition,
  lease,
  type Owner,
  running,
  settle,
  submit,
  TENANT,
} from './support.ts';

const tenantDay = (partition: Partition) => money(partition, `spend:tenant:acme:${DAY}`);
const hold = (amount: number, id = 'h1') => ({ id, amount, day: DAY });
const capTenant = (partition: Partition, tenantDailyNano: number) =>
  setTenantCaps(partition, TENANT, { runNano: null, userDailyNano: null, tenantDailyNano, timeZone: 'UTC' });

/** A run with an announced call, whose commit of the result is at hand. */
const midCall = async (partition: Partition, holdNano = 100): Promise<Owner> => {
  const owner = await running(partition);
  const reply = await owner.write({ results: [claimed()], announce: [requested(1)], hold: hold(holdNano) });
  assert.equal(reply.code, 'OK');
  return owner;
};

const abort = (partition: Partition, { run }: Owner) =>
  requestAbort(partition, { runId: run.runId, tenantId: TENANT, flag: FLAG });

const assertRefused = async (partition: Partition, commit: () => Promise<{ code: string }>, code: string) => {
  const before = await snapshot(partition);
  assert.equal((await commit()).code, code);
  assert.deepEqual(await snapshot(partition), before, 'a refused commit writes nothing');
};

test('results and announcement are one write, in order, in the journal and in the audit stream (R2, R3, R5)', async () => {
  const partition = await freshPartition();
  const owner = await midCall(partition);
  const reply = await owner.write({
    results: [completed(1)],
    settlements: [settle('h1', 40)],
    progress: true,
    announce: [requested(2)],
    hold: hold(50, 'h2'),
    contents: { results: [['sha256:r', 'cmVz']], announcement: [['sha256:a', 'YW5u']] },
  });
  const { runId } = owner.run;
  assert.equal(reply.code, 'OK');
  assert.equal(reply.head.seq, 5);
  assert.deepEqual(await eventTypes(partition, runId), [
    'run.submitted',
    'run.claimed',
    'llm.requested',
    'llm.completed',
    'llm.requested',
  ]);
  assert.deepEqual(await auditedEntries(partition, runId), await journal(partition, runId));
  assert.deepEqual(await partition.redis.hgetall(keyOf(partition, `run:${runId}:contents`)), {
    'sha256:r': 'cmVz',
    'sha256:a': 'YW5u',
  });
  assert.deepEqual(await tenantDay(partition), { spent: 40, held: 50 });
  assert.equal((await record(partition, runId))['claims'], '0');
});

test('a zombie of an older epoch is fenced, and writes nothing (R4)', async () => {
  const partition = await freshPartition();
  const zombie = await midCall(partition);
  await expireLease(partition, zombie.run.leaseId);
  await claim(partition, zombie.run.runId);
  const write = { results: [completed(1)], settlements: [settle('h1', 40)], announce: [requested(2)] };
  await assertRefused(partition, () => zombie.write(write), 'FENCED');
});

test('another lease with the right epoch is fenced (R4)', async () => {
  const partition = await freshPartition();
  const owner = await midCall(partition);
  const commit: Commit = { ...owner.build({ results: [completed(1)] }), leaseId: await lease(partition) };
  await assertRefused(partition, () => owner.send(commit), 'FENCED');
});

test('an older epoch under the same live lease is fenced (R4)', async () => {
  const partition = await freshPartition();
  const leaseId = await lease(partition);
  const first = await running(partition, {}, leaseId);
  const late = first.build({ results: [completed(1)] });
  await first.write({ announce: [handedOver()], after: { type: 'hand_over', failed: false } });
  await claim(partition, first.run.runId, { leaseId });
  await assertRefused(partition, () => first.send(late), 'FENCED');
});

test('an owner whose lease ran out is fenced, even while nobody else has the run (R4)', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition);
  const owner = await claim(partition, runId, { leaseId: 'short', leaseMs: 30 });
  await waitFor(
    async () =>
      Number(await partition.redis.zscore(keyOf(partition, 'leases'), 'short')) < Date.now()
        ? true
        : undefined,
    { what: 'the lease to run out', timeoutMs: 60_000, everyMs: 5 },
  );
  await assertRefused(partition, () => owner.write({ results: [claimed()] }), 'FENCED');
});

test('a commit behind another seq or another hash is a conflict', async () => {
  const partition = await freshPartition();
  const owner = await midCall(partition);
  const commit = owner.build({ results: [completed(1)], announce: [requested(2)] });
  const { seq, hash } = commit.head;
  for (const head of [
    { seq: seq + 1, hash },
    { seq: seq - 1, hash },
    { seq, hash: '0'.repeat(64) },
  ]) {
    await assertRefused(partition, () => owner.send({ ...commit, head }), 'CONFLICT');
  }
});

test('another continuation of the same head is a conflict', async () => {
  const partition = await freshPartition();
  const owner = await midCall(partition);
  const other = owner.build({ results: [completed(9)] });
  await owner.write({ results: [completed(1)] });
  await assertRefused(partition, () => owner.send(other), 'CONFLICT');
});

test('resent after all of it was written: recognised, nothing twice', async () => {
  const partition = await freshPartition();
  const owner = await midCall(partition);
  const commit = owner.build({
    results: [completed(1)],
    settlements: [settle('h1', 40)],
    announce: [requested(2)],
    hold: hold(50, 'h2'),
  });
  const first = await owner.send(commit);
  const before = await snapshot(partition);
  assert.deepEqual(await owner.send(commit), first);
  assert.deepEqual(await snapshot(partition), before);
});

test('resent after the run ended with it: still OK', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  const commit = owner.build({ announce: [succeeded()], after: { type: 'finish', status: 'succeeded' } });
  assert.equal((await owner.send(commit)).code, 'OK');
  assert.equal((await owner.send(commit)).code, 'OK');
  assert.deepEqual(await eventTypes(partition, owner.run.runId), ['run.submitted', 'run.succeeded']);
});

test('resent after only the results were written (DENIED): the hold is judged again, nothing twice', async () => {
  const partition = await freshPartition();
  await capTenant(partition, 100);
  const owner = await midCall(partition, 100);
  const commit = owner.build({
    results: [completed(1)],
    settlements: [settle('h1', 60)],
    announce: [requested(2)],
    hold: hold(50, 'h2'),
  });
  const denied = await owner.send(commit);
  assert.equal(denied.code, 'DENIED');
  const before = await snapshot(partition);
  assert.deepEqual(await owner.send(commit), denied);
  assert.deepEqual(await snapshot(partition), before);
  await capTenant(partition, 110);
  assert.equal((await owner.send(commit)).code, 'OK');
  assert.deepEqual(await tenantDay(partition), { spent: 60, held: 50 });
  assert.deepEqual(
    await auditedEntries(partition, owner.run.runId),
    await journal(partition, owner.run.runId),
  );
});

test('after an abort was asked for, results and settlement are written, the announcement is not (R7)', async () => {
  const partition = await freshPartition();
  const owner = await midCall(partition);
  await abort(partition, owner);
  const commit = owner.build({
    results: [completed(1)],
    settlements: [settle('h1', 40)],
    announce: [succeeded()],
    after: { type: 'finish', status: 'succeeded' },
  });
  const reply = await owner.send(commit);
  assert.equal(reply.code, 'ABORTED');
  assert.deepEqual(
    reply.notes.map(({ type }) => type),
    ['abort'],
  );
  assert.deepEqual(await tenantDay(partition), { spent: 40, held: 0 });
  const before = await snapshot(partition);
  assert.deepEqual(await owner.send(commit), reply, 'a resend learns the same');
  assert.deepEqual(await snapshot(partition), before);
  const end = await owner.write({
    results: [abortRequested()],
    notes: 1,
    announce: [aborted()],
    after: { type: 'finish', status: 'aborted' },
  });
  assert.equal(end.code, 'OK');
  assert.deepEqual((await eventTypes(partition, owner.run.runId)).slice(-3), [
    'llm.completed',
    'run.abort_requested',
    'run.aborted',
  ]);
  await assertNoTraces(partition, owner.run.runId);
});

test('results alone also answer ABORTED, on the first and on a resent commit', async () => {
  const partition = await freshPartition();
  const owner = await midCall(partition);
  await abort(partition, owner);
  const commit = owner.build({ results: [completed(1)], settlements: [settle('h1', 40)] });
  assert.equal((await owner.send(commit)).code, 'ABORTED');
  assert.equal((await owner.send(commit)).code, 'ABORTED');
  assert.deepEqual(await tenantDay(partition), { spent: 40, held: 0 });
});

test('an ended run takes nothing more, and an unknown run nothing at all (R7)', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  await owner.write({ announce: [succeeded()], after: { type: 'finish', status: 'succeeded' } });
  const write = { announce: [aborted()], after: { type: 'finish', status: 'aborted' } } as const;
  await assertRefused(partition, () => owner.write(write), 'TERMINAL');
  const unknown: Commit = { ...owner.build(write), runId: 'run_unknown' };
  await assertRefused(partition, () => owner.send(unknown), 'NOT_FOUND');
});

const parkAs = (owner: Owner, wakeSeq = owner.run.wakeSeq) =>
  ({
    announce: [parked('approval')],
    after: { type: 'park', reason: 'approval', wakeSeq, dueMs: null, capacity: null },
  }) as const;

test('a park does not happen when a wake came; its results are written, and the next park succeeds', async () => {
  const partition = await freshPartition();
  const owner = await midCall(partition);
  assert.equal((await wakeRun(partition, owner.run.runId, 'approval')).woken, true);
  const reply = await owner.write({
    results: [completed(1)],
    settlements: [settle('h1', 1)],
    ...parkAs(owner),
  });
  assert.equal(reply.code, 'WOKEN');
  assert.deepEqual(reply.notes, [{ type: 'woken', reason: 'approval' }]);
  assert.equal((await record(partition, owner.run.runId))['status'], 'running');
  const next = await owner.write({ results: [woken('approval')], notes: 1, ...parkAs(owner, reply.wakeSeq) });
  assert.equal(next.code, 'OK');
  assert.equal((await record(partition, owner.run.runId))['status'], 'waiting');
});

test('a parked run has no owner, no lease and no slot; a wake makes it runnable with a note', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  const { runId, leaseId } = owner.run;
  assert.equal((await owner.write({ results: [claimed()], ...parkAs(owner) })).code, 'OK');
  const { status, reason, owner: left, claim: token, claims } = await record(partition, runId);
  assert.deepEqual(
    { status, reason, left, token, claims },
    { status: 'waiting', reason: 'approval', left: undefined, token: undefined, claims: '0' },
  );
  for (const index of ['admitted', 'running', 'timers', 'queued:1', 'ready:acme']) {
    assert.equal(await partition.redis.zscore(keyOf(partition, index), runId), null, index);
  }
  assert.equal(await partition.redis.exists(keyOf(partition, `lease:${leaseId}`)), 0);
  const { activations } = await wakeRun(partition, runId, 'approval');
  assert.deepEqual(activations, [{ runId, wakeSeq: 2 }]);
  const next = await claim(partition, runId, { wakeSeq: 2 });
  assert.deepEqual(next.run.notes, [{ type: 'woken', reason: 'approval' }]);
});

test('a run handed over is queued again under a new wakeSeq', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  const { runId } = owner.run;
  const reply = await owner.write({
    results: [claimed()],
    announce: [handedOver()],
    after: { type: 'hand_over', failed: false },
  });
  assert.deepEqual(reply.activations, [{ runId, wakeSeq: 2 }]);
  assert.equal((await record(partition, runId))['status'], 'queued');
  assert.equal((await claim(partition, runId, { wakeSeq: 2 })).run.epoch, 2);
});

test('the end of a run leaves it in no index', async () => {
  const partition = await freshPartition();
  const owner = await midCall(partition);
  await wakeRun(partition, owner.run.runId, 'timer');
  const reply = await owner.write({
    results: [completed(1)],
    settlements: [settle('h1', 40)],
    announce: [succeeded()],
    after: { type: 'finish', status: 'succeeded' },
  });
  assert.equal(reply.code, 'OK');
  assert.equal((await record(partition, owner.run.runId))['status'], 'succeeded');
  await assertNoTraces(partition, owner.run.runId);
});

test('only the notes that became events leave the inbox', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  const { runId } = owner.run;
  for (const reason of ['timer', 'approval', 'input']) await wakeRun(partition, runId, reason);
  const reply = await owner.write({ results: [claimed(), woken('timer'), woken('approval')], notes: 2 });
  assert.deepEqual(reply.notes, [{ type: 'woken', reason: 'input' }]);
  const last = await owner.write({ results: [woken('input')], notes: 1 });
  assert.deepEqual(last.notes, []);
});

test('of a hundred commits of the same seq at once, each written once', async () => {
  const partition = await freshPartition();
  const owner = await midCall(partition);
  const commit = owner.build({
    results: [completed(1)],
    settlements: [settle('h1', 40)],
    announce: [requested(2)],
  });
  const replies = await Promise.all(Array.from({ length: 100 }, () => owner.send(commit)));
  assert.deepEqual([...new Set(replies.map(({ code }) => code))], ['OK']);
  assert.equal((await journal(partition, owner.run.runId)).length, 5);
  assert.deepEqual(await tenantDay(partition), { spent: 40, held: 0 });
});

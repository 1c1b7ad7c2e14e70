/** What a commit makes of its run beside the journal: parked, handed over, aborted, ended. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Commit, type Partition, requestAbort, wakeRun } from '../src/index.ts';
import {
  aborted,
  abortRequested,
  claimed,
  completed,
  FLAG,
  handedOver,
  parked,
  succeeded,
  woken,
} from './drafts.ts';
import { assertNoTraces, eventTypes, keyOf, record, snapshot } from './inspect.ts';
import { claim, freshPartition, type Owner, running, settle, TENANT } from './support.ts';
import { assertRefused, midCall, tenantDay } from './committing.ts';

const abort = (partition: Partition, { run }: Owner) =>
  requestAbort(partition, { runId: run.runId, tenantId: TENANT, flag: FLAG });

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

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readRun, requestAbort, wakeRun } from '../src/index.ts';
import { aborted, abortRequested, parked, succeeded } from './drafts.ts';
import { assertNoTraces, keyOf, record, snapshot } from './inspect.ts';
import { claim, code, freshPartition, running, submit, TENANT } from './support.ts';

const FLAG = { requested_at: '2026-01-01T00:00:00.000Z', by: 'key_1', reason: 'wrong input' };
const END = {
  results: [abortRequested()],
  notes: 1,
  announce: [aborted()],
  after: { type: 'finish', status: 'aborted' },
} as const;

test('the flag is kept and read back; a repeated abort gives the first one', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition);
  const first = await requestAbort(partition, { runId, tenantId: TENANT, flag: FLAG });
  assert.deepEqual(first, { flag: FLAG, status: 'queued' });
  const before = await snapshot(partition);
  const again = await requestAbort(partition, {
    runId,
    tenantId: TENANT,
    flag: { ...FLAG, by: 'key_2', reason: null },
  });
  assert.deepEqual(again, { flag: FLAG, status: 'queued' });
  assert.deepEqual(await snapshot(partition), before, 'and leaves one note');
  assert.deepEqual((await readRun(partition, { tenantId: TENANT, runId }, 'all'))?.abort, FLAG);
});

test('another tenant’s run and an unknown one are not found', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition);
  for (const request of [
    { runId, tenantId: 'other', flag: FLAG },
    { runId: 'run_unknown', tenantId: TENANT, flag: FLAG },
  ]) {
    await assert.rejects(requestAbort(partition, request), code('not_found'));
  }
  assert.equal(await readRun(partition, { tenantId: 'other', runId }, 'none'), null);
});

test('an ended run has nothing to abort', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  await owner.write({ announce: [succeeded()], after: { type: 'finish', status: 'succeeded' } });
  const request = { runId: owner.run.runId, tenantId: TENANT, flag: FLAG };
  await assert.rejects(requestAbort(partition, request), code('run_terminal'));
});

test('a queued run keeps its activation, whose claim brings the note', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition);
  await requestAbort(partition, { runId, tenantId: TENANT, flag: FLAG });
  const owner = await claim(partition, runId, { wakeSeq: 1 });
  assert.deepEqual(owner.run.notes, [{ type: 'abort', ...FLAG }]);
  assert.equal((await owner.write(END)).code, 'OK');
  await assertNoTraces(partition, runId);
});

test('a wake of a queued run keeps its activation too', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition);
  await wakeRun(partition, runId, 'input');
  const owner = await claim(partition, runId, { wakeSeq: 1 });
  assert.deepEqual(owner.run.notes, [{ type: 'woken', reason: 'input' }]);
});

test('a waiting run becomes runnable, so that somebody writes its end (R10)', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  const { runId } = owner.run;
  await owner.write({
    announce: [parked('timer')],
    after: { type: 'park', reason: 'timer', wakeSeq: 1, dueMs: Date.now() + 3_600_000, capacity: null },
  });
  const { status } = await requestAbort(partition, { runId, tenantId: TENANT, flag: FLAG });
  assert.equal(status, 'waiting', 'what it was when the abort came');
  assert.equal((await record(partition, runId))['status'], 'queued');
  assert.equal(await partition.redis.zscore(keyOf(partition, 'timers'), runId), null);
  const writer = await claim(partition, runId, { leaseId: 'own', leaseMs: 60_000 });
  assert.equal((await writer.write(END)).code, 'OK');
  await assertNoTraces(partition, runId);
});

test('a running run’s next park does not happen', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  await requestAbort(partition, { runId: owner.run.runId, tenantId: TENANT, flag: FLAG });
  const reply = await owner.write({
    announce: [parked('approval')],
    after: { type: 'park', reason: 'approval', wakeSeq: 1, dueMs: null, capacity: null },
  });
  assert.equal(reply.code, 'ABORTED');
  assert.equal(reply.head.seq, 1);
});

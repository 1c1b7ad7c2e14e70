import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SignalboxError } from '@signalbox/contracts';
import { findLiveRuns, type LiveRunFilter, type Partition, withdrawTrust } from '../src/index.ts';
import { aborted, parked } from './drafts.ts';
import { freshPartition, running, submit, TENANT } from './support.ts';

const find = (partition: Partition, filter: LiveRunFilter = {}, limit = 10_000) =>
  findLiveRuns(partition, TENANT, { filter, limit });

test('more runs than a batch, of two tenants: each once, oldest first, in every state', async () => {
  const partition = await freshPartition();
  const mine: string[] = [];
  for (let i = 0; i < 1100; i += 1) {
    const { runId } = await submit(partition, { tenantId: i % 2 === 0 ? TENANT : 'other' });
    if (i % 2 === 0) mine.push(runId);
  }
  const owner = await running(partition);
  const waiting = await running(partition);
  const after = { type: 'park', reason: 'timer', wakeSeq: 1, dueMs: null, capacity: null } as const;
  await waiting.write({ announce: [parked('timer')], after });
  const ended = await running(partition);
  await ended.write({ announce: [aborted()], after: { type: 'finish', status: 'aborted' } });
  mine.push(owner.run.runId, waiting.run.runId);

  assert.deepEqual(await find(partition), { runIds: mine, more: false });
  assert.deepEqual(await find(partition, {}, mine.length), { runIds: mine, more: false });
  assert.deepEqual(await find(partition, {}, 501), { runIds: mine.slice(0, 501), more: true });
  assert.deepEqual((await find(partition, { status: 'running' })).runIds, [owner.run.runId]);
  assert.deepEqual((await find(partition, { status: 'waiting' })).runIds, [waiting.run.runId]);
});

test('no answer at all from a server whose data is not verified', async () => {
  const partition = await freshPartition();
  await submit(partition);
  await withdrawTrust(partition);
  await assert.rejects(
    find(partition),
    (error: unknown) => error instanceof SignalboxError && error.code === 'state_untrusted',
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { waitFor } from '@signalbox/local';
import { createTail, type Hint, publishDelta, requestAbort } from '../src/index.ts';
import { claimed, FLAG, requested, succeeded } from './drafts.ts';
import { freshPartition, openRedis, running, TENANT } from './support.ts';

const until = (what: string, ask: () => Promise<boolean> | boolean) =>
  waitFor(async () => ((await ask()) ? true : undefined), { what, timeoutMs: 60_000 });

test('a watcher hears heads, deltas and the abort of its run, in order; who waits for the end hears that alone', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  const other = await running(partition);
  const { runId } = owner.run;
  const tail = createTail(await openRedis('subscriber'));
  const hints: Hint[] = [];
  let ends = 0;
  await tail.watchEnd(partition, runId, () => (ends += 1));
  await tail.watch(partition, runId, (hint) => hints.push(hint));
  await other.write({ results: [claimed()] });
  await owner.write({ results: [claimed()], announce: [requested(1)] });
  assert.equal(await publishDelta(partition, runId, { step: 1, sealed: 'c2VhbGVk+/==' }), 1);
  await requestAbort(partition, { runId, tenantId: TENANT, flag: FLAG });
  const end = { announce: [succeeded()], after: { type: 'finish', status: 'succeeded' } } as const;
  // Refused for the abort: what is written then is not the end.
  await owner.write({ results: [claimed()], ...end });
  await owner.write({ ...end, after: { type: 'finish', status: 'aborted' } });
  await until('the end', () => hints.length === 5 && ends > 0);
  assert.equal(ends, 1);
  assert.deepEqual(hints, [
    { type: 'head', seq: 3 },
    { type: 'delta', step: 1, sealed: 'c2VhbGVk+/==' },
    { type: 'abort' },
    { type: 'head', seq: 4 },
    { type: 'head', seq: 5 },
  ]);
});

test('aborts of all runs of a partition are heard by id', async () => {
  const partition = await freshPartition();
  const elsewhere = await freshPartition();
  const tail = createTail(await openRedis('subscriber'));
  const heard: string[] = [];
  await tail.watchAborts(partition, (runId) => heard.push(runId));
  const ids: string[] = [];
  for (const at of [elsewhere, partition, partition]) {
    const { run } = await running(at);
    if (at === partition) ids.push(run.runId);
    await requestAbort(at, { runId: run.runId, tenantId: TENANT, flag: FLAG });
  }
  await until('both', () => heard.length === 2);
  assert.deepEqual(heard, ids);
});

test('one who stops hears no more, the others do; after the last nobody listens', async () => {
  const partition = await freshPartition();
  const tail = createTail(await openRedis('subscriber'));
  const first: Hint[] = [];
  const second: Hint[] = [];
  const stopFirst = await tail.watch(partition, 'run_1', (hint) => first.push(hint));
  const stopSecond = await tail.watch(partition, 'run_1', (hint) => second.push(hint));
  const delta = { step: 1, sealed: 'eA==' };
  assert.equal(await publishDelta(partition, 'run_1', delta), 1, 'they share one subscription');
  await until('both to hear', () => first.length === 1 && second.length === 1);
  stopFirst();
  await publishDelta(partition, 'run_1', delta);
  await until('the second to hear', () => second.length === 2);
  assert.equal(first.length, 1);
  stopSecond();
  stopSecond();
  await until('nobody to listen', async () => (await publishDelta(partition, 'run_1', delta)) === 0);
  assert.equal(second.length, 2);
  await tail.watch(partition, 'run_1', (hint) => first.push(hint));
  assert.equal(await publishDelta(partition, 'run_1', delta), 1, 'and can be heard again');
});

/**
 * Whoever polls a long run is shown what its journal says, whatever happened between two looks, and a look reads what
 * is new only.
 */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type Run, SignalboxError } from '@signalbox/contracts';
import { appendDrafts, hashOf, readEntry } from '@signalbox/engine';
import { runKey } from '@signalbox/run-state';
import { viewOf } from '../src/runs/run-view.ts';
import { createRunViews, type RunViews } from '../src/runs/run-views.ts';
import { coolDown, storeAll } from './audit.ts';
import { type Harness, openHarness } from './harness.ts';
import { own, type RunWriter } from './run-writer.ts';

const TENANT = 'default';
const LONG = 25;

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

/** Views that count how often a run is read from its beginning. */
const countingViews = () => {
  const { deps } = h;
  const whole = { reads: 0 };
  const runs: typeof deps.runs = {
    ...deps.runs,
    find: (...args) => {
      whole.reads += 1;
      return deps.runs.find(...args);
    },
  };
  return { whole, views: createRunViews({ ...deps, runs }) };
};

/** As it is folded from its beginning. */
const foldedWhole = async (runId: string): Promise<Run> =>
  viewOf(h.deps, await h.deps.runs.find(TENANT, runId));

const work = async (writer: RunWriter, from: number, to: number): Promise<void> => {
  for (let step = from; step <= to; step += 1) {
    await writer.request(step);
    await writer.complete(step, `answer ${step}`, false);
  }
};

/** A run that has made `LONG` steps, which `views` has seen. */
const longRun = async (views: RunViews): Promise<{ runId: string; writer: RunWriter }> => {
  const { id: runId } = await h.submit({ input: 'question' });
  const writer = await own(h, runId);
  await work(writer, 1, LONG);
  await views.show(TENANT, runId);
  return { runId, writer };
};

test('each look shows what the whole journal says, and only the first reads it all', async () => {
  const { whole, views } = countingViews();
  const { runId, writer } = await longRun(views);
  for (let step = LONG + 1; step <= LONG + 4; step += 1) {
    await writer.request(step);
    assert.deepEqual((await views.show(TENANT, runId)).view, await foldedWhole(runId));
    await writer.complete(step, `answer ${step}`, step === LONG + 4);
    assert.deepEqual((await views.show(TENANT, runId)).view, await foldedWhole(runId));
  }
  const { view } = await views.show(TENANT, runId);
  assert.deepEqual([view.status, view.input, view.output], ['succeeded', 'question', `answer ${LONG + 4}`]);
  assert.equal(whole.reads, 1);
});

test('a run that ends after a look that saw its answer is shown with that answer', async () => {
  const { views } = countingViews();
  const { runId, writer } = await longRun(views);
  await writer.request(LONG + 1);
  await views.show(TENANT, runId);
  await writer.complete(LONG + 1, 'the end', true);
  assert.equal((await views.show(TENANT, runId)).view.output, 'the end');
  assert.equal((await views.show(TENANT, runId)).view.output, 'the end');
});

test('many who look while it goes on are each shown one moment of it', async () => {
  const { whole, views } = countingViews();
  const { runId, writer } = await longRun(views);
  const looks: Promise<{ view: Run; seq: number }>[] = [];
  const look = () => looks.push(views.show(TENANT, runId));
  for (let step = LONG + 1; step <= LONG + 5; step += 1) {
    const writing = writer.request(step).then(() => writer.complete(step, `answer ${step}`, false));
    look();
    look();
    await writing;
    look();
  }
  const run = await h.deps.runs.find(TENANT, runId);
  for (const { view, seq } of await Promise.all(looks)) {
    const then = { ...run, entries: run.entries.slice(0, seq) };
    assert.deepEqual(view, viewOf(h.deps, then));
  }
  assert.equal(whole.reads, 1);
});

test('Redis lost the last writes, and the run went on otherwise: the run as it is now is shown', async () => {
  const { whole, views } = countingViews();
  const { runId, writer } = await longRun(views);
  await work(writer, LONG + 1, LONG + 2);
  const { seq: seen } = await views.show(TENANT, runId);
  const { redis } = h.deps.partition;
  const events = runKey(h.deps.partition, runId, 'events');
  await redis.ltrim(events, 0, -4);
  assert.deepEqual((await views.show(TENANT, runId)).view, await foldedWhole(runId));
  await views.show(TENANT, runId);
  const last = (await redis.lindex(events, -1)) ?? '';
  const head = { seq: readEntry(last).seq, hash: hashOf(last) };
  const drafts = Array.from({ length: 5 }, () => ({
    type: 'run.woken' as const,
    data: { reason: 'timer' as const },
  }));
  const actor = { type: 'system', id: 'test' } as const;
  const context = { runId, epoch: 1, ts: new Date().toISOString(), actor };
  await redis.rpush(events, ...appendDrafts(head, drafts, context).entries);
  const { view, seq } = await views.show(TENANT, runId);
  assert.ok(seq > seen);
  assert.deepEqual(view, await foldedWhole(runId));
  // In the place of entries that were seen lie others: read from the beginning once more.
  const before = whole.reads;
  await redis.ltrim(events, 0, -3);
  const other = (await redis.lindex(events, -1)) ?? '';
  const from = { seq: readEntry(other).seq, hash: hashOf(other) };
  await redis.rpush(events, ...appendDrafts(from, drafts, { ...context, epoch: 2 }).entries);
  assert.deepEqual((await views.show(TENANT, runId)).view, await foldedWhole(runId));
  assert.equal(whole.reads, before + 1);
});

test('a run that left Redis is shown from Postgres', async () => {
  const { views } = countingViews();
  const { runId, writer } = await longRun(views);
  await writer.request(LONG + 1);
  await writer.complete(LONG + 1, 'the end', true);
  const { view: hot } = await views.show(TENANT, runId);
  await storeAll(h);
  await coolDown(h, runId);
  assert.deepEqual((await views.show(TENANT, runId)).view, hot);
});

test('what one tenant has looked at is not there for another', async () => {
  const { views } = countingViews();
  const { runId } = await longRun(views);
  await assert.rejects(
    views.show('other', runId),
    (error) => error instanceof SignalboxError && error.code === 'not_found',
  );
});

test('what was said in a run is not shown once it is erased', async () => {
  const { views } = countingViews();
  const { runId, writer } = await longRun(views);
  await writer.request(LONG + 1);
  await writer.complete(LONG + 1, 'the end', true);
  assert.equal((await views.show(TENANT, runId)).view.output, 'the end');
  await storeAll(h);
  const erased = await h.call('DELETE', `/v1/runs/${runId}/content`);
  assert.equal(erased.status, 200);
  const { view } = await views.show(TENANT, runId);
  assert.deepEqual([view.input, view.output], [null, null]);
  assert.notEqual(view.content_erased_at, null);
});

/** A run is read with the contents that are wanted, and as it is at one instant. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SealedContent } from '@signalbox/contracts';
import { readRun, readRunFrom, runKey } from '../src/index.ts';
import { freshPartition, submit, TENANT } from './support.ts';

const CONTENTS: readonly SealedContent[] = [
  ['sha256:input', 'aW5wdXQ='],
  ['sha256:spec', 'c3BlYw=='],
  ['sha256:first', 'Zmlyc3Q='],
  ['sha256:last', 'bGFzdA=='],
];
const HASH = 'a'.repeat(64);
const entry = (body: object): string => `${HASH}${JSON.stringify(body)}`;
const answer = (output: string): string => entry({ type: 'llm.completed', refs: { output } });

const SAID = [
  entry({ type: 'run.submitted', data: {}, refs: { submission: 'sha256:input', spec: 'sha256:spec' } }),
  answer('sha256:first'),
  answer('sha256:last'),
  // A body is free to hold the words elsewhere.
  entry({
    type: 'tool.completed',
    data: { said: { type: 'llm.completed' } },
    refs: { output: 'sha256:first' },
  }),
];

const said = async (entries = SAID) => {
  const partition = await freshPartition();
  const { runId } = await submit(partition, { contents: CONTENTS });
  await partition.redis.del(runKey(partition, runId, 'events'));
  await partition.redis.rpush(runKey(partition, runId, 'events'), ...entries);
  return { partition, runId, tenantId: TENANT, entries };
};

test('all contents come along, none, or those a view shows: what was submitted and the last answer', async () => {
  const { partition, entries, ...run } = await said();
  const whole = await readRun(partition, run, 'all');
  assert.deepEqual(whole?.entries, entries);
  assert.deepEqual(whole.contents, new Map(CONTENTS));
  assert.deepEqual(await readRun(partition, run, 'none'), { ...whole, contents: new Map() });
  const contents = new Map([CONTENTS[0], CONTENTS[3]].filter((one) => one !== undefined));
  assert.deepEqual(await readRun(partition, run, 'shown'), { ...whole, contents });
});

test('who knows a part of the journal gets its last entry again and what is behind it', async () => {
  const { partition, entries, ...run } = await said();
  const whole = await readRun(partition, run, 'shown');
  const known = { submission: 'sha256:input', answer: 'sha256:first' };
  const further = await readRunFrom(partition, run, { ...known, seq: 2 });
  assert.deepEqual(further, { ...whole, entries: entries.slice(1) });
  const last = await readRunFrom(partition, run, { ...known, seq: 4 });
  assert.deepEqual(last?.entries, entries.slice(3));
  assert.deepEqual(last.contents, new Map([CONTENTS[0], CONTENTS[2]].filter((one) => one !== undefined)));
  assert.equal(await readRunFrom(partition, run, { ...known, seq: 5 }), null);
  assert.equal(await readRunFrom(partition, { ...run, tenantId: 'other' }, { ...known, seq: 2 }), null);
});

test('before its first answer a run shows what was submitted', async () => {
  const { partition, ...run } = await said(SAID.slice(0, 1));
  assert.deepEqual((await readRun(partition, run, 'shown'))?.contents, new Map(CONTENTS.slice(0, 1)));
});

test('a run that is gone is not here, and another tenant’s never was', async () => {
  const { partition, ...run } = await said();
  for (const wanted of ['none', 'shown', 'all'] as const) {
    assert.equal(await readRun(partition, { ...run, tenantId: 'other' }, wanted), null);
    assert.equal(await readRun(partition, { ...run, runId: `${run.runId}0` }, wanted), null);
  }
});

test('a run whose contents were erased has none', async () => {
  const { partition, ...run } = await said();
  await partition.redis.hset(runKey(partition, run.runId), 'erased', '2026-01-01T00:00:00.000Z');
  await partition.redis.hdel(runKey(partition, run.runId), 'key');
  await partition.redis.del(runKey(partition, run.runId, 'contents'));
  const erased = await readRun(partition, run, 'shown');
  assert.equal(erased?.wrappedKey, null);
  assert.equal(erased?.contentErasedAt, '2026-01-01T00:00:00.000Z');
  assert.deepEqual(erased?.contents, new Map());
});

test('a content that is not there leaves the rest of the run to be seen', async () => {
  const { partition, ...run } = await said();
  await partition.redis.hdel(runKey(partition, run.runId, 'contents'), 'sha256:last');
  assert.deepEqual((await readRun(partition, run, 'shown'))?.contents, new Map(CONTENTS.slice(0, 1)));
});

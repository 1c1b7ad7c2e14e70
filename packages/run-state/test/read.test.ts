/** A run is read with the contents that are asked for, and as it is at one instant. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { SealedContent } from '@signalbox/contracts';
import { readRun, runKey } from '../src/index.ts';
import { freshPartition, submit, TENANT } from './support.ts';

const CONTENTS: readonly SealedContent[] = [
  ['sha256:input', 'aW5wdXQ='],
  ['sha256:spec', 'c3BlYw=='],
  ['sha256:answer', 'YW5zd2Vy'],
];
const said = async () => {
  const partition = await freshPartition();
  const { runId, submission } = await submit(partition, { contents: CONTENTS });
  return { partition, runId, entries: submission.entries };
};

test('all of them come along unless somebody chooses; those chosen come with the whole journal', async () => {
  const { partition, runId, entries } = await said();
  const whole = await readRun(partition, TENANT, runId);
  assert.deepEqual(whole?.contents, new Map(CONTENTS));
  const chosen = await readRun(partition, TENANT, runId, (journal) => {
    assert.deepEqual(journal, entries);
    return ['sha256:answer', 'sha256:input'];
  });
  assert.deepEqual(chosen, {
    ...whole,
    contents: new Map([
      ['sha256:answer', 'YW5zd2Vy'],
      ['sha256:input', 'aW5wdXQ='],
    ]),
  });
  const none = await readRun(partition, TENANT, runId, () => []);
  assert.deepEqual(none, { ...whole, contents: new Map() });
});

test('a run that left between the two looks is not here; another tenant’s never was', async () => {
  const { partition, runId } = await said();
  const choice = (leaves: () => void) => () => {
    leaves();
    return ['sha256:input'];
  };
  // On the same connection, so before the second look.
  const gone = await readRun(
    partition,
    TENANT,
    runId,
    choice(() => void partition.redis.del(runKey(partition, runId), runKey(partition, runId, 'contents'))),
  );
  assert.equal(gone, null);
  const { runId: other } = await submit(partition, { contents: CONTENTS });
  assert.equal(await readRun(partition, 'other', other, () => assert.fail('looked into')), null);
});

test('a run whose contents were erased between the two looks has none', async () => {
  const { partition, runId } = await said();
  const erased = await readRun(partition, TENANT, runId, () => {
    void partition.redis.hset(runKey(partition, runId), 'erased', '2026-01-01T00:00:00.000Z');
    void partition.redis.hdel(runKey(partition, runId), 'key');
    void partition.redis.del(runKey(partition, runId, 'contents'));
    return ['sha256:input'];
  });
  assert.equal(erased?.wrappedKey, null);
  assert.equal(erased?.contentErasedAt, '2026-01-01T00:00:00.000Z');
  assert.deepEqual(erased?.contents, new Map());
});

test('a content that is not there leaves the rest of the run to be seen', async () => {
  const { partition, runId } = await said();
  await partition.redis.hdel(runKey(partition, runId, 'contents'), 'sha256:answer');
  const run = await readRun(partition, TENANT, runId, () => ['sha256:answer', 'sha256:input']);
  assert.deepEqual(run?.contents, new Map(CONTENTS.slice(0, 2)));
});

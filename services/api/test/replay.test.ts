import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Run } from '@signalbox/contracts';
import type { Replayed } from '@signalbox/engine';
import { eraseHot, foundContent, openContent, runKey, sealContent } from '@signalbox/run-state';
import { coolDown, storeAll } from './audit.ts';
import { type Harness, openHarness } from './harness.ts';
import { finish, own } from './run-writer.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

type Report = Replayed & { readonly provider_calls: number };

const replay = async (id: string): Promise<Report> => {
  const response = await h.call('POST', `/v1/runs/${id}/replay`);
  assert.equal(response.status, 200);
  return (await response.json()) as Report;
};

const finished = async (steps = 1): Promise<Run> => {
  const run = await h.submit();
  await finish(h, run.id, steps);
  return run;
};

const IDENTICAL = { identical: true, steps: 1, divergences: [], provider_calls: 0 };

test('a run replays identical from Redis, from Postgres, and while it is under way (R12)', async () => {
  const { id } = await finished();
  assert.deepEqual(await replay(id), IDENTICAL);
  await storeAll(h);
  await coolDown(h, id);
  assert.deepEqual(await replay(id), IDENTICAL);
  const open = await h.submit();
  assert.deepEqual(await replay(open.id), { ...IDENTICAL, steps: 0 });
  const writer = await own(h, open.id);
  await writer.request(1);
  assert.deepEqual(await replay(open.id), IDENTICAL);
});

test('a replay writes nothing', async () => {
  const { id } = await finished();
  const { redis, root } = h.deps.partition;
  const keysOf = async (): Promise<string[]> => (await redis.keys(`${root}:*`)).toSorted();
  const before = [await keysOf(), await redis.hgetall(runKey(h.deps.partition, id))];
  await replay(id);
  assert.deepEqual([await keysOf(), await redis.hgetall(runKey(h.deps.partition, id))], before);
});

test('a decision that today would be another is named, with what it would be', async () => {
  // After an answer without tool calls there is no second call.
  const { id } = await finished(2);
  assert.deepEqual(await replay(id), {
    identical: false,
    steps: 2,
    divergences: [
      {
        step: 2,
        kind: 'action',
        expected: { type: 'call_model', step: 2, attempt: 1, model: 'mock/echo' },
        got: { type: 'succeed' },
      },
    ],
    provider_calls: 0,
  });
});

interface Stored {
  readonly contents: string;
  readonly entries: string;
  readonly refs: { readonly submission: string; readonly spec: string };
}

const stored = async (id: string): Promise<Stored> => {
  const { partition } = h.deps;
  const contents = runKey(partition, id, 'contents');
  const entries = runKey(partition, id, 'events');
  const first = await partition.redis.lindex(entries, 0);
  return { contents, entries, refs: (JSON.parse((first ?? '').slice(64)) as Stored).refs };
};

test('another prompt in the place of the one that was sealed is found out, however well it is sealed', async () => {
  const { id } = await finished();
  const { partition, keyring } = h.deps;
  const { contents, refs } = await stored(id);
  const key = keyring.unwrap((await partition.redis.hget(runKey(partition, id), 'key')) ?? '', id);
  const spec = openContent(key, id, [
    refs.spec,
    foundContent((await partition.redis.hget(contents, refs.spec)) ?? ''),
  ]) as object;
  const [ref, sealed] = sealContent(key, id, { ...spec, instructions: 'Tell everything.' });
  await partition.redis.hset(contents, refs.spec, sealed);
  const { identical, divergences } = await replay(id);
  assert.equal(identical, false);
  assert.deepEqual(divergences, [{ step: 0, kind: 'content', expected: refs.spec, got: ref }]);
});

test('a content that was taken away is found out, and not taken for erased', async () => {
  const { id } = await finished();
  const { redis } = h.deps.partition;
  const { contents, refs } = await stored(id);
  await redis.hdel(contents, refs.submission);
  const divergences = [{ step: 0, kind: 'content', expected: refs.submission, got: null }];
  assert.deepEqual(await replay(id), { identical: false, steps: 0, divergences, provider_calls: 0 });
  await redis.hdel(runKey(h.deps.partition, id), 'key');
  const response = await h.call('POST', `/v1/runs/${id}/replay`);
  const { code, detail } = (await response.json()) as { code: string; detail: string };
  assert.deepEqual([response.status, code], [410, 'content_erased']);
  assert.match(detail, /no erasure of it is known/);
});

test('a journal that was changed is named with its first bad place', async () => {
  const { id } = await finished();
  const { redis } = h.deps.partition;
  const { entries } = await stored(id);
  const entry = (await redis.lindex(entries, 2)) ?? '';
  await redis.lset(entries, 2, entry.replace('"max_output_tokens":100', '"max_output_tokens":900'));
  const { identical, divergences } = await replay(id);
  assert.equal(identical, false);
  assert.deepEqual(divergences, [
    {
      step: 0,
      kind: 'journal',
      expected: 'an unbroken chain',
      got: { seq: 3, why: 'the hash does not match the body' },
    },
  ]);
});

test('what was erased cannot be replayed: 410 content_erased', async () => {
  const { id } = await finished();
  await eraseHot(h.deps.partition, [{ runId: id, erasedAt: new Date() }]);
  const response = await h.call('POST', `/v1/runs/${id}/replay`);
  const { code, detail } = (await response.json()) as { code: string; detail: string };
  assert.deepEqual([response.status, code], [410, 'content_erased']);
  assert.match(detail, new RegExp(`${id} was erased`));
});

test("another tenant's run cannot be replayed", async () => {
  const { id } = await finished();
  const key = await h.key('stranger', ['runs:read']);
  assert.equal((await h.call('POST', `/v1/runs/${id}/replay`, { key })).status, 404);
});

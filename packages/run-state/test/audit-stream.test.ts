import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { until } from '@signalbox/local';
import {
  acknowledge,
  createAuditReader,
  ensureGroup,
  markStored,
  type Partition,
  readBacklog,
  readStream,
  rewindGroup,
  runKey,
} from '../src/index.ts';
import { claimed, completed, requested, succeeded } from './drafts.ts';
import { journal, keyOf, record } from './inspect.ts';
import { claim, code, freshPartition, openRedis, running, submit } from './support.ts';

const readerOf = async (partition: Partition, consumer: string) => {
  await ensureGroup(partition);
  return createAuditReader(partition, await openRedis('stream'), consumer);
};

const sealed = (): string => randomBytes(300).toString('base64');

test('one record per commit, in order; the wrapped key only with the first', async () => {
  const partition = await freshPartition();
  const contents: [string, string][] = [
    ['sha256:a', sealed()],
    ['sha256:b', sealed()],
  ];
  const { runId } = await submit(partition, { userId: 'u1', rootRunId: 'run_root', contents });
  const owner = await claim(partition, runId);
  const own: [string, string][] = [['sha256:c', sealed()]];
  await owner.write({
    results: [claimed(), completed(1)],
    announce: [requested(2)],
    contents: { results: own, announcement: [['sha256:d', 'ZA==']] },
  });
  const records = await (await readerOf(partition, 'c1')).read(10, 1000);
  const common = { runId, tenantId: 'acme', userId: 'u1', agent: 'support', rootRunId: 'run_root' };
  const entries = await journal(partition, runId);
  assert.deepEqual(
    records.map(({ streamId: _, ...rest }) => rest),
    [
      { ...common, wrappedKey: 'wrapped-key', entries: entries.slice(0, 1), contents },
      { ...common, wrappedKey: null, entries: entries.slice(1), contents: [...own, ['sha256:d', 'ZA==']] },
    ],
  );
});

test('a run without user and agent says so', async () => {
  const partition = await freshPartition();
  await submit(partition, { agent: null, userId: null });
  const [first] = await (await readerOf(partition, 'c1')).read(10, 1000);
  assert.deepEqual([first?.userId, first?.agent], [null, null]);
});

test('what was acknowledged is gone; repeating it does no harm (R8)', async () => {
  const partition = await freshPartition();
  await submit(partition);
  await submit(partition);
  const reader = await readerOf(partition, 'c1');
  const [first] = await reader.read(1, 1000);
  await acknowledge(partition, [first?.streamId ?? '']);
  await acknowledge(partition, [first?.streamId ?? '']);
  await acknowledge(partition, []);
  assert.deepEqual(await reader.reclaim(10), []);
  assert.equal((await readBacklog(partition, Date.now())).events, 1);
});

const consumersOf = async (partition: Partition): Promise<unknown[]> => {
  const known = (await partition.redis.xinfo('CONSUMERS', keyOf(partition, 'audit'), 'audit-writer')) as [
    string,
    string,
  ][];
  return known.map(([, name]) => name).toSorted();
};

test('what was delivered and not acknowledged, to whomever, is taken over at once and in stream order (R8)', async () => {
  const partition = await freshPartition();
  for (let i = 0; i < 4; i += 1) await submit(partition);
  const [a, b] = [await readerOf(partition, 'a'), await readerOf(partition, 'b')];
  const delivered = [...(await a.read(1, 1000)), ...(await b.read(1, 1000)), ...(await a.read(1, 1000))];
  const next = await readerOf(partition, 'next');
  assert.deepEqual(await next.reclaim(2), delivered.slice(0, 2));
  assert.deepEqual(await next.reclaim(10), delivered, 'its own come again as well');
  const [fresh] = await next.read(10, 1);
  assert.ok(fresh !== undefined && !delivered.some(({ streamId }) => streamId === fresh.streamId));
});

test('consumers with nothing pending are forgotten, those with something are not (R8)', async () => {
  const partition = await freshPartition();
  assert.equal(
    await createAuditReader(partition, await openRedis('stream'), 'x').forgetOthers(),
    0,
    'no stream',
  );
  for (let i = 0; i < 2; i += 1) await submit(partition);
  const next = await readerOf(partition, 'next');
  const [left] = await (await readerOf(partition, 'dead')).read(1, 1000);
  const [done] = await (await readerOf(partition, 'done')).read(1, 1000);
  await acknowledge(partition, [done?.streamId ?? '']);
  assert.equal(await next.forgetOthers(), 1);
  assert.deepEqual(await consumersOf(partition), ['dead']);
  assert.deepEqual(await next.reclaim(10), [left], 'what it had is still to be had');
  assert.equal(await next.forgetOthers(), 1);
  assert.deepEqual(await consumersOf(partition), ['next']);
});

test('a waiting reader gets what is written meanwhile', async () => {
  const partition = await freshPartition();
  const reader = await readerOf(partition, 'c1');
  const reading = reader.read(10, 5000);
  const { runId } = await submit(partition);
  assert.deepEqual(
    (await reading).map((r) => r.runId),
    [runId],
  );
});

test('the backlog tells how many commits wait and for how long', async () => {
  const partition = await freshPartition();
  assert.deepEqual(await readBacklog(partition, Date.now()), { events: 0, lagSeconds: 0 });
  await submit(partition);
  const { events, lagSeconds } = await readBacklog(partition, Date.now() + 60_000);
  assert.equal(events, 1);
  assert.ok(lagSeconds >= 59 && lagSeconds <= 61, String(lagSeconds));
});

const ttls = (partition: Partition, runId: string): Promise<number[]> =>
  Promise.all(
    [runKey(partition, runId), runKey(partition, runId, 'events'), runKey(partition, runId, 'contents')].map(
      (key) => partition.redis.ttl(key),
    ),
  );

test('only an ended run that is stored whole expires', async () => {
  const partition = await freshPartition();
  const { runId } = await submit(partition, { contents: [['sha256:a', 'YQ==']] });
  const live = await running(partition);
  const owner = await claim(partition, runId);
  await owner.write({ announce: [succeeded()], after: { type: 'finish', status: 'succeeded' } });
  await markStored(
    partition,
    [
      { runId, seq: 1 },
      { runId: live.run.runId, seq: 1 },
      { runId: 'run_unknown', seq: 1 },
    ],
    60,
  );
  assert.deepEqual(await ttls(partition, runId), [-1, -1, -1]);
  assert.deepEqual((await ttls(partition, live.run.runId)).slice(0, 2), [-1, -1]);
  assert.equal((await record(partition, live.run.runId))['stored_seq'], '1');
  assert.equal(await partition.redis.exists(keyOf(partition, 'run:run_unknown')), 0);
  await markStored(partition, [{ runId, seq: 2 }], 60);
  for (const ttl of await ttls(partition, runId)) assert.ok(ttl > 0 && ttl <= 60, String(ttl));
  await markStored(partition, [{ runId, seq: 1 }], 0);
  assert.equal((await record(partition, runId))['stored_seq'], '2', 'it never goes back');
  await markStored(partition, [{ runId, seq: 2 }], 0);
  await until(
    'the run to expire',
    async () => (await partition.redis.exists(runKey(partition, runId))) === 0,
  );
});

test('two writers that start at once share one group', async () => {
  const partition = await freshPartition();
  await Promise.all([ensureGroup(partition), ensureGroup(partition)]);
  await ensureGroup(partition);
  for (let i = 0; i < 4; i += 1) await submit(partition);
  const [a, b] = [await readerOf(partition, 'a'), await readerOf(partition, 'b')];
  const ids = [...(await a.read(2, 1000)), ...(await b.read(10, 1000))].map((r) => r.streamId);
  assert.equal(new Set(ids).size, 4);
});

test('a Redis that dies is a passing trouble, whatever is asked of the stream', async () => {
  const partition = await freshPartition();
  const reader = await readerOf(partition, 'c1');
  const [redis, blocking] = [await openRedis(), await openRedis('stream')];
  const away = { ...partition, redis };
  const awayReader = createAuditReader(partition, blocking, 'c2');
  await reader.read(1, 1);
  for (const connection of [redis, blocking]) connection.disconnect();
  const asked: (() => Promise<unknown>)[] = [
    () => ensureGroup(away),
    () => rewindGroup(away),
    () => readStream(away, 10).next(),
    () => awayReader.reclaim(1),
    () => awayReader.read(1, 1),
  ];
  for (const ask of asked) await assert.rejects(ask, code('state_unavailable'), String(ask));
});

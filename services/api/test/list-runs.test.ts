import { writeBatch } from '@signalbox/audit-store';
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, before, test } from 'node:test';
import { newId, type Run } from '@signalbox/contracts';
import { storeAll } from './audit.ts';
import { type Harness, openHarness } from './harness.ts';
import { finish } from './run-writer.ts';

interface Page {
  data: Run[];
  next_cursor: string | null;
}

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

const list = async (query: string, key?: string): Promise<Page> => {
  const response = await h.call('GET', `/v1/runs${query}`, key === undefined ? {} : { key });
  assert.equal(response.status, 200, query);
  return (await response.json()) as Page;
};

const idsOf = ({ data }: Page): string[] => data.map(({ id }) => id);

test('a list is newest first, in pages, without gaps or repeats', async () => {
  const submitted: string[] = [];
  for (let i = 0; i < 5; i += 1) submitted.push((await h.submit({ input: `run ${i}` })).id);
  await storeAll(h);
  const newestFirst = submitted.toReversed();
  assert.deepEqual(idsOf(await list('')), newestFirst);
  const paged: string[] = [];
  let cursor: string | null = '';
  while (cursor !== null) {
    const page: Page = await list(`?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`);
    paged.push(...idsOf(page));
    cursor = page.next_cursor;
  }
  assert.deepEqual(paged, newestFirst);
  assert.deepEqual(
    (await list('')).data.map(({ input }) => input),
    ['run 4', 'run 3', 'run 2', 'run 1', 'run 0'],
  );
});

test('a page of long texts ends early, and the next ones have the rest', async () => {
  const key = await h.key('long', ['admin']);
  const submitted: string[] = [];
  for (let i = 0; i < 10; i += 1) {
    submitted.push((await h.submit({ input: randomBytes(500_000).toString('hex') }, { key })).id);
  }
  await storeAll(h);
  const first = await list('?limit=100', key);
  assert.ok(first.data.length < 10, String(first.data.length));
  assert.ok(first.data.length > 4, 'as many as fit');
  const rest = await list(`?limit=100&cursor=${first.next_cursor}`, key);
  assert.equal(rest.next_cursor, null);
  assert.deepEqual([...idsOf(first), ...idsOf(rest)], submitted.toReversed());
});

test('each filter chooses, and items are whole runs', async () => {
  const key = await h.key('filters', ['admin']);
  await h.call('PUT', '/v1/agents/helper', { json: { model: 'mock/echo' }, key });
  const done = await h.submit({ agent: 'helper', user_id: 'u1', session_id: 's1' }, { key });
  const open = await h.submit({ user_id: 'u2', session_id: 's2' }, { key });
  await finish(h, done.id);
  await storeAll(h);
  assert.deepEqual(idsOf(await list('?status=succeeded', key)), [done.id]);
  assert.deepEqual(idsOf(await list('?status=queued', key)), [open.id]);
  assert.deepEqual(idsOf(await list('?agent=helper', key)), [done.id]);
  assert.deepEqual(idsOf(await list('?user_id=u2', key)), [open.id]);
  assert.deepEqual(idsOf(await list('?session_id=s1', key)), [done.id]);
  assert.deepEqual(idsOf(await list(`?created_after=${open.created_at}`, key)), [open.id]);
  assert.deepEqual(idsOf(await list(`?created_before=${open.created_at}`, key)), [done.id]);
  assert.deepEqual(idsOf(await list('?user_id=u1&status=queued', key)), []);
  const hot = (await (await h.call('GET', `/v1/runs/${done.id}`, { key })).json()) as Run;
  assert.deepEqual((await list('?status=succeeded', key)).data, [hot]);
  assert.equal(hot.output, 'answer 1');
});

test('another tenant sees nothing of it, also with a cursor of ours', async () => {
  await h.submit();
  await storeAll(h);
  const key = await h.key('outsider', ['runs:read']);
  assert.deepEqual(await list('', key), { data: [], next_cursor: null });
  const { next_cursor } = await list('?limit=1');
  assert.deepEqual(idsOf(await list(`?cursor=${next_cursor}`, key)), []);
});

test('a damaged journal, and one whose events left with their partition, do not hide the others', async () => {
  const key = await h.key('damaged', ['admin']);
  const good = await h.submit({}, { key });
  await storeAll(h);
  const [bad, detached] = [newId('run'), newId('run')];
  const created_at = new Date();
  await h.db
    .insertInto('runs')
    .values([bad, detached].map((id) => ({ id, tenant_id: 'damaged', root_run_id: id, created_at })))
    .execute();
  const damaged = `${'0'.repeat(64)}${JSON.stringify({ run_id: bad, seq: 1 })}`;
  const record = {
    streamId: '1-1',
    runId: bad,
    tenantId: 'damaged',
    userId: null,
    agent: null,
    rootRunId: bad,
  };
  await writeBatch(h.db, [{ ...record, wrappedKey: null, entries: [damaged], contents: [] }]);
  assert.deepEqual(idsOf(await list('?limit=1', key)), []);
  assert.deepEqual(idsOf(await list(`?limit=1&cursor=${(await list('?limit=2', key)).next_cursor}`, key)), [
    good.id,
  ]);
  assert.deepEqual(idsOf(await list('', key)), [good.id]);
  const leftOut = h.logs.filter((line) => line.includes('run left out of a list'));
  assert.ok(leftOut.length > 0 && leftOut.every((line) => line.includes(bad)));
});

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { newId, type Run } from '@signalbox/contracts';
import { runKey } from '@signalbox/run-state';
import { coolDown, storeAll } from './audit.ts';
import { type Harness, openHarness } from './harness.ts';
import { finish } from './run-writer.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

const erase = (id: string, query = ''): Promise<Response> =>
  h.call('DELETE', `/v1/runs/${id}/content${query}`);
const finished = async (): Promise<string> => {
  const { id } = await h.submit({ input: 'my secret' });
  await finish(h, id);
  return id;
};
const codeOf = async (response: Response): Promise<[number, string]> => [
  response.status,
  ((await response.json()) as { code: string }).code,
];
const erasedFacts = async (id: string): Promise<unknown[]> => {
  const rows = await h.db
    .selectFrom('audit_events')
    .select('data')
    .where('type', '=', 'content.erased')
    .execute();
  return rows.map(({ data }) => data).filter((data) => (data as { run_id: string }).run_id === id);
};

const assertErased = async (id: string): Promise<void> => {
  const run = (await (await h.call('GET', `/v1/runs/${id}`)).json()) as Run;
  assert.deepEqual([run.status, run.input, run.output, run.metadata], ['succeeded', null, null, {}]);
  assert.notEqual(run.content_erased_at, null);
  assert.equal(run.cost.observed_usd, 0.0021);
  const steps = await (await h.call('GET', `/v1/runs/${id}/steps`)).text();
  assert.doesNotMatch(steps, /my secret|answer 1/);
  assert.deepEqual(await codeOf(await h.call('POST', `/v1/runs/${id}/replay`)), [410, 'content_erased']);
  const fork = { from_step: 1, changes: {} };
  assert.deepEqual(await codeOf(await h.call('POST', `/v1/runs/${id}/fork`, { json: fork })), [
    410,
    'content_erased',
  ]);
};

test('a hot run: nothing of it is left in Redis, and what is in the stream is not stored', async () => {
  const id = await finished();
  const response = await erase(id, '?reason=GDPR%20request%2017');
  assert.equal(response.status, 200);
  const run = (await response.json()) as Run;
  assert.deepEqual([run.input, run.output], [null, null]);
  const { partition } = h.deps;
  assert.equal(await partition.redis.hexists(runKey(partition, id), 'key'), 0);
  assert.equal(await partition.redis.exists(runKey(partition, id, 'contents')), 0);
  await assertErased(id);
  await storeAll(h);
  await coolDown(h, id);
  await assertErased(id);
  const keys = await h.db.selectFrom('run_keys').selectAll().where('run_id', '=', id).execute();
  const contents = await h.db.selectFrom('contents').selectAll().where('run_id', '=', id).execute();
  assert.deepEqual([keys, contents], [[], []]);
  assert.deepEqual(await erasedFacts(id), [{ run_id: id, reason: 'GDPR request 17' }]);
});

test('a stored run; a repeated call answers the same and is recorded once', async () => {
  const id = await finished();
  await storeAll(h);
  await coolDown(h, id);
  const first = await (await erase(id)).json();
  assert.deepEqual(await (await erase(id)).json(), first);
  await assertErased(id);
  await storeAll(h);
  assert.equal((await erasedFacts(id)).length, 1);
});

test('a run with an event in quarantine: what was said goes, and all say why it cannot be shown', async () => {
  const id = await finished();
  await storeAll(h, (record) =>
    record.runId === id
      ? {
          ...record,
          entries: record.entries.map((entry) => entry.replace('"llm.requested"', '"llm.repeated"')),
        }
      : record,
  );
  await coolDown(h, id);
  const sealed = () => h.db.selectFrom('contents').select('ref').where('run_id', '=', id).execute();
  assert.ok((await sealed()).length > 0);
  const broken = [409, 'journal_broken'];
  assert.deepEqual(await codeOf(await h.call('GET', `/v1/runs/${id}`)), broken);
  assert.deepEqual(await codeOf(await h.call('GET', `/v1/runs/${id}/steps`)), broken);
  const fork = { from_step: 1, changes: {} };
  assert.deepEqual(await codeOf(await h.call('POST', `/v1/runs/${id}/fork`, { json: fork })), broken);
  const response = await erase(id);
  assert.match(await response.clone().text(), /What was said in the run is erased/);
  assert.deepEqual(await codeOf(response), broken);
  assert.deepEqual(await sealed(), []);
  await storeAll(h);
  assert.deepEqual(await erasedFacts(id), [{ run_id: id, reason: null }]);
});

test('a run whose last record was refused as a whole can be erased', async () => {
  const id = await finished();
  await storeAll(h, (record) =>
    record.runId === id && record.entries.some((entry) => entry.includes('"run.succeeded"'))
      ? { ...record, contents: [['sha256:x', '%%%']] }
      : record,
  );
  await coolDown(h, id);
  assert.equal((await erase(id)).status, 200);
  const kept = await h.db
    .selectFrom('runs')
    .select(['status', 'content_erased'])
    .where('id', '=', id)
    .execute();
  assert.deepEqual(kept, [{ status: 'succeeded', content_erased: true }]);
});

test('a run that has not ended is refused with what to do, and keeps everything', async () => {
  const { id } = await h.submit({ input: 'my secret' });
  assert.deepEqual(await codeOf(await erase(id)), [409, 'run_live']);
  const run = (await (await h.call('GET', `/v1/runs/${id}`)).json()) as Run;
  assert.deepEqual([run.input, run.content_erased_at], ['my secret', null]);
  await storeAll(h);
  assert.deepEqual(await erasedFacts(id), []);
});

const factsOf = async (type: string): Promise<unknown[]> => {
  await storeAll(h);
  const rows = await h.db.selectFrom('audit_events').select('data').where('type', '=', type).execute();
  return rows.map(({ data }) => data);
};

test('the reason of a hold is kept without the secrets and people it names (R13)', async () => {
  const path = `/v1/runs/${await finished()}/legal-hold`;
  const json = { held: true, reason: 'asked by ada@example.com' };
  const { reason } = (await (await h.call('PUT', path, { json })).json()) as { reason: string };
  assert.match(reason, /^asked by \[EMAIL:[0-9a-f]{8}\]$/);
  const kept = await h.db.selectFrom('legal_holds').select('reason').execute();
  assert.ok(kept.every((hold) => hold.reason?.includes('@') !== true));
});

test('a held run, and any of a held tenant, is not erased until the hold is lifted; each change is recorded', async () => {
  const id = await finished();
  for (const [path, run_id] of [
    [`/v1/runs/${id}/legal-hold`, id],
    ['/v1/legal-hold', null],
  ] as const) {
    const change = async (held: boolean): Promise<{ held: boolean; since: string | null }> => {
      const response = await h.call('PUT', path, { json: { held, reason: 'case 7' } });
      assert.equal(response.status, 200);
      return (await response.json()) as { held: boolean; since: string | null };
    };
    const first = await change(true);
    assert.deepEqual(await change(true), first, 'a repeated hold answers the same');
    assert.deepEqual([first.held, typeof first.since], [true, 'string']);
    const refused = await erase(id);
    const { code, detail } = (await refused.json()) as { code: string; detail: string };
    assert.deepEqual([refused.status, code], [409, 'legal_hold']);
    assert.ok(detail.endsWith(`: PUT ${path}.`), 'it says which hold to lift');
    assert.equal((await change(false)).held, false);
    const facts = (await factsOf('legal_hold.changed')).filter(
      (data) => (data as { run_id: unknown }).run_id === run_id,
    );
    assert.deepEqual(facts, [
      { run_id, held: true, reason: 'case 7' },
      { run_id, held: false, reason: 'case 7' },
    ]);
  }
  assert.deepEqual(await erasedFacts(id), [], 'what was refused is not said to be erased');
  assert.equal((await erase(id)).status, 200);
  const unknown = await h.call('PUT', `/v1/runs/${newId('run')}/legal-hold`, { json: { held: true } });
  assert.equal(unknown.status, 404);
});

test('of holds that are set and lifted at once, none takes effect without a record of it', async () => {
  const id = await finished();
  const wishes = Array.from({ length: 40 }, (_, n) => n % 2 === 0);
  await Promise.all(wishes.map((held) => h.call('PUT', `/v1/runs/${id}/legal-hold`, { json: { held } })));
  await storeAll(h);
  const rows = await h.db
    .selectFrom('audit_events')
    .select('data')
    .where('type', '=', 'legal_hold.changed')
    .orderBy('seq')
    .execute();
  const told = rows
    .map(({ data }) => data as { run_id: string; held: boolean })
    .flatMap(({ run_id, held }) => (run_id === id ? [held] : []));
  assert.deepEqual(
    told,
    told.map((_, n) => n % 2 === 0),
    'each changes what the one before left',
  );
  const kept = await h.db.selectFrom('legal_holds').select('run_id').where('run_id', '=', id).execute();
  assert.equal(kept.length === 1, told.at(-1));
});

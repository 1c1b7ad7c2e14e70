/** An api that lacks the key which something was sealed under, while ENCRYPTION_KEYS are replaced api by api. */
import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Run, Step } from '@signalbox/contracts';
import { runKey } from '@signalbox/run-state';
import { createKeyring, newDataKey } from '@signalbox/runtime';
import { createApp } from '../src/http/app.ts';
import { createRunViews } from '../src/runs/run-views.ts';
import type { ReplayJob } from '../src/replays/replay-schemas.ts';
import { replayTurn } from '../src/replays/replay-turn.ts';
import { coolDown, storeAll } from './audit.ts';
import { type CallOptions, type Harness, openHarness, request } from './harness.ts';
import { counts, look, NEVER, start, storedRuns, toTheEnd, worker } from './replaying.ts';
import { finish, own } from './run-writer.ts';

let h: Harness;
let call: Harness['call'];
/** Named as the key that the other api has: whoever follows `new:...,old:...` twice has two of each name. */
const stranger = createKeyring([{ id: 'test', key: newDataKey() }]);
/** As that of an api with the old keys, which the other has too behind the new one. */
let keyring: typeof stranger;

before(async () => {
  h = await openHarness();
  keyring = { ...stranger, digests: (text) => h.deps.keyring.digests(text) };
  const deps = { ...h.deps, keyring };
  const app = createApp({ ...deps, views: createRunViews(deps) });
  call = async (method, path, options = {}) => app.fetch(request(method, path, options));
});
after(() => h.close());

const assertMissing = async (method: string, path: string, options: CallOptions = {}): Promise<void> => {
  const response = await call(method, path, options);
  // First, since what is answered wrongly may never end.
  assert.equal(response.status, 503, `${method} ${path}`);
  const { code, detail } = (await response.json()) as { code: string; detail: string };
  assert.equal(code, 'encryption_key_missing');
  assert.ok(response.headers.has('retry-after'));
  assert.match(detail, /^(?:What was said in run run_\w+|Agent \w+) is sealed .* ENCRYPTION_KEYS\.$/);
};

const READS = ['', '?wait=5', '/steps'];

test('no route shows a run as if nothing had been said in it; a list tells of it; what needs no key is shown', async () => {
  const { id } = await h.submit({ user_id: 'reader' });
  await finish(h, id);
  for (const read of READS) await assertMissing('GET', `/v1/runs/${id}${read}`);
  await storeAll(h);
  await coolDown(h, id);
  for (const read of READS) await assertMissing('GET', `/v1/runs/${id}${read}`);
  const { data } = (await (await call('GET', '/v1/runs?user_id=reader')).json()) as { data: Run[] };
  assert.deepEqual(
    data.map(({ status, input, content_error }) => [status, input, content_error]),
    [['succeeded', null, 'encryption_key_missing']],
  );
  await assertMissing('POST', `/v1/runs/${id}/replay`);
  await assertMissing('POST', `/v1/runs/${id}/fork`, { json: { from_step: 1, changes: {} } });
  const key = await h.key('default', ['runs:read']);
  const steps = (await (await call('GET', `/v1/runs/${id}/steps`, { key })).json()) as { data: Step[] };
  assert.equal(steps.data.length, 1);
  assert.equal((await call('GET', `/v1/runs/${id}/events`)).status, 200);
  assert.equal((await call('GET', '/v1/audit/export')).status, 200);
});

test('a stream with deltas does not begin; one of a run that has ended has none to open', async () => {
  const { id } = await h.submit();
  const headers = { accept: 'text/event-stream' };
  await assertMissing('GET', `/v1/runs/${id}/events`, { headers });
  const key = await h.key('default', ['runs:read']);
  const without = await call('GET', `/v1/runs/${id}/events`, { headers, key });
  assert.equal(without.status, 200);
  await without.body?.cancel();
  await finish(h, id);
  const ended = await call('GET', `/v1/runs/${id}/events`, { headers });
  assert.match(await ended.text(), /event: end/);
});

test('what was erased is shown as it was, and so is what is damaged, which is told', async () => {
  const [erased, damaged] = [await h.submit(), await h.submit()];
  await finish(h, erased.id);
  await h.call('DELETE', `/v1/runs/${erased.id}/content`);
  const shown = (await (await call('GET', `/v1/runs/${erased.id}`)).json()) as Run;
  assert.equal(shown.output, null);
  assert.notEqual(shown.content_erased_at, null);
  const { partition } = h.deps;
  await partition.redis.hset(runKey(partition, damaged.id), 'key', 'test.AAAA');
  const response = await h.call('GET', `/v1/runs/${damaged.id}`);
  const { input, content_error } = (await response.json()) as Run;
  assert.deepEqual([response.status, input, content_error], [200, null, 'content_damaged']);
  assert.ok(!('content_error' in shown));
});

test('an abort is taken, and known where the run can be shown', async () => {
  const { id } = await h.submit();
  await own(h, id);
  await assertMissing('POST', `/v1/runs/${id}/abort`);
  const run = (await (await h.call('GET', `/v1/runs/${id}`)).json()) as Run;
  assert.notEqual(run.abort, null);
});

test('a repeat makes no second run, and is answered with the first where that can be shown', async () => {
  const json = { agent: { model: 'mock/echo' }, input: 'once' };
  const [one, many] = [{ json, headers: { 'idempotency-key': 'one' } }, { json: { runs: [json] } }];
  const batch = { ...many, headers: { 'idempotency-key': 'many' } };
  const { id } = await h.submit(json, one);
  const first = await (await h.call('POST', '/v1/runs/batch', batch)).json();
  await assertMissing('POST', '/v1/runs', one);
  await assertMissing('POST', '/v1/runs/batch', batch);
  const again = await h.call('POST', '/v1/runs', one);
  assert.deepEqual([again.status, ((await again.json()) as Run).id], [200, id]);
  assert.deepEqual(await (await h.call('POST', '/v1/runs/batch', batch)).json(), first);
});

test('an agent under another key is neither shown nor run, by itself and in a batch', async () => {
  const json = { model: 'mock/echo', instructions: 'x' };
  assert.equal((await h.call('PUT', '/v1/agents/sealed', { json })).status, 201);
  await assertMissing('GET', '/v1/agents/sealed');
  await assertMissing('GET', '/v1/agents');
  const run = { agent: 'sealed', input: 'x' };
  await assertMissing('POST', '/v1/runs', { json: run });
  await assertMissing('POST', '/v1/runs/batch', { json: { runs: [run, run] } });
  const inline = { agent: { model: 'mock/echo' }, input: 'x' };
  const batch = await call('POST', '/v1/runs/batch', { json: { runs: [run, inline] } });
  const { data } = (await batch.json()) as { data: { run?: Run; problem?: { code: string } }[] };
  assert.deepEqual([batch.status, data[0]?.problem?.code], [202, 'encryption_key_missing']);
  assert.equal(data[1]?.run?.status, 'queued');
});

test('a run that a replay job cannot open waits a day for an api that can, and then counts as failed', async () => {
  const [, second] = await storedRuns(h, 2, 'replayed');
  const { id } = await start(h, { filter: { agent: 'replayed' } });
  // Its changes open, its runs do not.
  const unwrap: typeof keyring.unwrap = (wrapped, aad) =>
    (aad.startsWith('run_') ? keyring : h.deps.keyring).unwrap(wrapped, aad);
  const lacking = { ...worker(h), keyring: { ...keyring, unwrap } };
  await assert.rejects(replayTurn(lacking, NEVER), { code: 'encryption_key_missing' });
  const held = await look(h, id);
  assert.deepEqual([held.status, counts(held)], ['running', [0, 0, 0, 0]]);
  const done = await toTheEnd(h, id);
  assert.deepEqual([done.status, counts(done)], ['done', [2, 2, 0, 0]]);

  const late: ReplayJob = await start(h, { filter: { agent: 'replayed' } });
  const clock = { ...h.deps.clock, now: () => h.deps.clock.now() + 25 * 3_600_000 };
  while (await replayTurn({ ...lacking, clock }, NEVER));
  const { status, failures } = await look(h, late.id);
  assert.deepEqual([status, failures[0]], ['done', { run_id: second, code: 'encryption_key_missing' }]);
});

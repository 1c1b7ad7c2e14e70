import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { Event, Run, Step } from '@signalbox/contracts';
import { chainBreak } from '@signalbox/engine';
import { requestAbort } from '@signalbox/run-state';
import { coolDown, storeAll } from './audit.ts';
import { type Harness, openHarness } from './harness.ts';
import { finish, own } from './run-writer.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

const get = async <T>(path: string, key?: string): Promise<T> => {
  const response = await h.call('GET', path, key === undefined ? {} : { key });
  assert.equal(response.status, 200, path);
  return (await response.json()) as T;
};

test('a run is shown as its journal folds, hot and cold alike', async () => {
  const { id } = await h.submit({ input: 'question' });
  await finish(h, id, 2);
  const hot = await get<Run>(`/v1/runs/${id}`);
  assert.equal(hot.status, 'succeeded');
  assert.equal(hot.output, 'answer 2');
  assert.equal(hot.steps, 2);
  assert.equal(hot.usage.input_tokens, 20);
  assert.deepEqual(hot.cost, { cap_usd: 1, observed_usd: 0.0021, held_usd: 0, estimated: false });
  const steps = await get<object>(`/v1/runs/${id}/steps`);
  const events = await get<object>(`/v1/runs/${id}/events`);
  await storeAll(h);
  await coolDown(h, id);
  assert.deepEqual(await get(`/v1/runs/${id}`), hot);
  assert.deepEqual(await get(`/v1/runs/${id}/steps`), steps);
  assert.deepEqual(await get(`/v1/runs/${id}/events`), events);
  assert.equal((await h.call('POST', `/v1/runs/${id}/abort`)).status, 409);
});

test('an open hold shows as held', async () => {
  const { id } = await h.submit();
  const writer = await own(h, id);
  await writer.request(1);
  const run = await get<Run>(`/v1/runs/${id}`);
  assert.equal(run.status, 'running');
  assert.deepEqual([run.cost.held_usd, run.cost.observed_usd], [0.001, 0]);
});

test('wait answers as soon as the run ends, wherever that happens', async () => {
  const { id } = await h.submit();
  const writer = await own(h, id);
  await writer.request(1);
  const waiting = [get<Run>(`/v1/runs/${id}?wait=50`), get<Run>(`/v1/runs/${id}?wait=50`)];
  await writer.complete(1, 'done', true);
  for (const run of await Promise.all(waiting))
    assert.deepEqual([run.status, run.output], ['succeeded', 'done']);
});

test('wait ends with its time, with the client, and with the process', async () => {
  const { id } = await h.submit();
  const startedAt = performance.now();
  assert.equal((await get<Run>(`/v1/runs/${id}?wait=1`)).status, 'queued');
  assert.ok(performance.now() - startedAt >= 990);
  const client = new AbortController();
  const left = h.call('GET', `/v1/runs/${id}?wait=50`, { signal: client.signal });
  client.abort();
  await left;
  const stopping = await openHarness();
  const run = await stopping.submit();
  const pending = stopping.call('GET', `/v1/runs/${run.id}?wait=50`);
  stopping.stop();
  assert.equal((await pending).status, 200);
  await stopping.close();
  assert.ok(performance.now() - startedAt < 20_000);
});

test('events come in pages that chain', async () => {
  const { id } = await h.submit();
  await finish(h, id, 3);
  const all = await get<{ data: Event[]; next_after: number }>(`/v1/runs/${id}/events`);
  assert.deepEqual(
    all.data.map(({ seq }) => seq),
    all.data.map((_, i) => i + 1),
  );
  assert.equal(all.next_after, all.data.length);
  const paged: Event[] = [];
  for (let after = 0, more = true; more; ) {
    const page = await get<{ data: Event[]; next_after: number }>(
      `/v1/runs/${id}/events?after=${after}&limit=2`,
    );
    paged.push(...page.data);
    more = page.data.length > 0;
    after = page.next_after;
  }
  assert.deepEqual(paged, all.data);
  const entries = all.data.map(({ hash, ...body }) => hash + JSON.stringify(body));
  assert.equal(chainBreak(entries), null, 'what the api sends is what was hashed');
});

test('steps show contents only to keys with content:read', async () => {
  const { id } = await h.submit({ input: 'question' });
  await finish(h, id, 2);
  const full = await get<{ data: Step[] }>(`/v1/runs/${id}/steps`);
  assert.deepEqual(full.data[0]?.input, [{ role: 'user', content: 'question' }]);
  assert.deepEqual(full.data[0]?.output, { text: 'answer 1', tool_calls: [] });
  assert.equal(full.data[0]?.cost_observed_usd, 0.0021);
  const reader = await h.key('default', ['runs:read']);
  const bare = await get<{ data: Step[] }>(`/v1/runs/${id}/steps`, reader);
  assert.deepEqual(
    bare.data.map(({ input, output }) => [input, output]),
    [
      [null, null],
      [null, null],
    ],
  );
  assert.equal(bare.data[0]?.cost_observed_usd, 0.0021);
});

test('a run whose key was erased keeps its state and loses what was said', async () => {
  const { id } = await h.submit();
  await finish(h, id);
  await storeAll(h);
  await coolDown(h, id);
  await h.db.deleteFrom('run_keys').where('run_id', '=', id).execute();
  const run = await get<Run>(`/v1/runs/${id}`);
  assert.deepEqual([run.status, run.input, run.output], ['succeeded', null, null]);
});

const abort = async (id: string, json?: object): Promise<{ status: number; run: Run }> => {
  const response = await h.call('POST', `/v1/runs/${id}/abort`, json === undefined ? {} : { json });
  return { status: response.status, run: (await response.json()) as Run };
};

const receiptOf = ({ abort }: Run) => [
  abort?.effective_at,
  abort?.caught,
  abort?.call_closed,
  abort?.settled_usd,
];

const typesOf = async (id: string): Promise<string[]> => {
  const { data } = await get<{ data: Event[] }>(`/v1/runs/${id}/events`);
  return data.map(({ type }) => type);
};

test('a queued run is aborted at once', async () => {
  const { id } = await h.submit();
  const { status, run } = await abort(id, { reason: 'changed my mind, token=abcdefgh1234' });
  assert.equal(status, 202);
  assert.equal(run.status, 'aborted');
  assert.equal(run.abort?.reason, 'changed my mind, token=[REDACTED]');
  assert.match(run.abort?.by ?? '', /^key_/);
  assert.deepEqual(receiptOf(run), [run.finished_at, 'before_start', false, 0]);
  assert.deepEqual(await typesOf(id), ['run.submitted', 'run.claimed', 'run.abort_requested', 'run.aborted']);
  assert.equal((await abort(id)).status, 409);
});

test('a run that Redis does not have and that has not ended is not called ended: the abort is to be repeated', async () => {
  const { id } = await h.submit();
  await own(h, id);
  await storeAll(h);
  await coolDown(h, id);
  const response = await h.call('POST', `/v1/runs/${id}/abort`);
  const { code, detail } = (await response.json()) as { code: string; detail: string };
  assert.deepEqual([response.status, code], [503, 'state_untrusted']);
  assert.match(detail, /has not ended/);
  assert.ok(Number(response.headers.get('retry-after')) > 0);
});

test('a run that waits is aborted at once', async () => {
  const timed = await h.submit({ run_at: new Date(Date.now() + 3_600_000).toISOString() });
  assert.equal((await abort(timed.id)).run.status, 'aborted');
  const parked = await h.submit();
  const writer = await own(h, parked.id);
  await writer.park(Date.now() + 3_600_000);
  const { run } = await abort(parked.id);
  assert.equal(run.status, 'aborted');
  assert.deepEqual(receiptOf(run), [run.finished_at, 'before_start', false, 0]);
  const answered = await h.submit();
  const later = await own(h, answered.id);
  await later.request(1);
  await later.complete(1, 'half way', false);
  await later.park(Date.now() + 3_600_000);
  const stopped = (await abort(answered.id)).run;
  assert.deepEqual(receiptOf(stopped), [stopped.finished_at, 'between_steps', false, 0]);
});

test('a run with a live owner is left to it, and shows the wish meanwhile', async () => {
  const { id } = await h.submit();
  const writer = await own(h, id);
  await writer.request(1);
  const first = await abort(id, { reason: 'stop' });
  assert.deepEqual([first.status, first.run.status, first.run.abort?.reason], [202, 'running', 'stop']);
  assert.deepEqual(receiptOf(first.run), [null, null, null, null]);
  const again = await abort(id, { reason: 'stop again' });
  assert.deepEqual(again.run.abort, first.run.abort);
  assert.deepEqual(await typesOf(id), ['run.submitted', 'run.claimed', 'llm.requested']);
});

test('a dead owner: its open hold is charged, then the run is aborted', async () => {
  const { id } = await h.submit();
  const writer = await own(h, id, { leaseMs: 500 });
  await writer.request(1);
  const { redis, root } = h.deps.partition;
  // The lease's deadline is moved into the past instead of waiting for it.
  await redis.zadd(`${root}:leases`, 1, writer.claimed.leaseId);
  const { run } = await abort(id);
  assert.equal(run.status, 'aborted');
  assert.deepEqual(run.cost, { cap_usd: 1, observed_usd: 0.001, held_usd: 0, estimated: true });
  assert.deepEqual((await typesOf(id)).slice(-4), [
    'run.claimed',
    'run.abort_requested',
    'cost.expired',
    'run.aborted',
  ]);
  // Its call could not be closed, and the abort gave it up at what was held.
  assert.deepEqual(receiptOf(run), [run.finished_at, 'in_flight', false, 0.001]);
  await storeAll(h);
  assert.match((await redis.hget(`${root}:run:${id}:holds`, writer.hold.id)) ?? '', /^expired/);
  assert.equal((await writer.complete(1, 'too late', true)).code, 'TERMINAL');
  await coolDown(h, id);
  assert.deepEqual(
    await get<Run>(`/v1/runs/${id}`),
    run,
    'the receipt stays when Redis has forgotten the run',
  );
});

test('a dead owner: its open call that cost nothing ends too, so that the run replays', async () => {
  const { id } = await h.submit();
  const writer = await own(h, id, { leaseMs: 500 });
  await writer.request(1, true);
  const { redis, root } = h.deps.partition;
  await redis.zadd(`${root}:leases`, 1, writer.claimed.leaseId);
  const { run } = await abort(id);
  assert.deepEqual((await typesOf(id)).slice(-3), ['run.abort_requested', 'llm.failed', 'run.aborted']);
  assert.deepEqual(receiptOf(run), [run.finished_at, 'in_flight', false, 0]);
  const replayed = await h.call('POST', `/v1/runs/${id}/replay`);
  assert.deepEqual(await replayed.json(), { identical: true, steps: 1, divergences: [], provider_calls: 0 });
});

test('an abort that somebody else began is finished', async () => {
  const { id } = await h.submit();
  const flag = { requested_at: new Date().toISOString(), by: 'key_x', reason: null };
  await requestAbort(h.deps.partition, { runId: id, tenantId: 'default', flag });
  const { run } = await abort(id);
  assert.deepEqual([run.status, run.abort?.by], ['aborted', 'key_x']);
});

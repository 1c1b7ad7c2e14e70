import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { readEntry } from '@signalbox/engine';
import { getTenantCaps, setTenantCaps } from '@signalbox/run-state';
import type { Run } from '@signalbox/contracts';
import { storeAll } from './audit.ts';
import { type Harness, openHarness } from './harness.ts';
import { own } from './run-writer.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

const body = { agent: { model: 'mock/echo' }, input: 'hi' };

test('a submitted run is answered with 202, Location and the whole run', async () => {
  const json = {
    ...body,
    user_id: 'u1',
    session_id: 's1',
    metadata: { k: 'v' },
    limits: { max_steps: 5, cost_usd: 0.25 },
  };
  const response = await h.call('POST', '/v1/runs', { json });
  const run = (await response.json()) as Run;
  assert.equal(response.status, 202);
  assert.equal(response.headers.get('location'), `/v1/runs/${run.id}`);
  assert.match(run.id, /^run_[0-9a-f]{32}$/);
  assert.equal(run.status, 'queued');
  assert.equal(run.input, 'hi');
  assert.deepEqual(run.metadata, { k: 'v' });
  assert.equal(run.cost.cap_usd, 0.25);
  assert.deepEqual(run.agent, { name: null, version: null });
  assert.deepEqual(await (await h.call('GET', `/v1/runs/${run.id}`)).json(), run);
});

test('nothing of what was said lies in Redis in clear', async () => {
  const secret = 'the-secret-of-the-input';
  const run = await h.submit({ input: secret, agent: { model: 'mock/echo', instructions: secret } });
  const { redis, root } = h.deps.partition;
  const dump = await Promise.all([
    redis.hgetall(`${root}:run:${run.id}`),
    redis.lrange(`${root}:run:${run.id}:events`, 0, -1),
    redis.hgetall(`${root}:run:${run.id}:contents`),
    redis.xrange(`${root}:audit`, '-', '+'),
  ]);
  assert.ok(!JSON.stringify(dump).includes(secret));
  assert.equal(run.input, secret);
  assert.ok(!h.logs.join('').includes(secret));
});

test('the first event says who, what, and within which limits', async () => {
  const traceparent = '00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01';
  const response = await h.call('POST', '/v1/runs', {
    json: {
      ...body,
      agent: { ...body.agent, limits: { max_steps: 9 } },
      user_id: 'u1',
      limits: { timeout_seconds: 60 },
    },
    headers: { traceparent },
  });
  const { id } = (await response.json()) as Run;
  const run = await h.deps.runs.find('default', id);
  const event = readEntry(run.entries[0] ?? '');
  assert.ok(event.type === 'run.submitted');
  assert.equal(event.actor.type, 'user');
  assert.match(event.actor.id, /^key_[0-9a-f]{32}$/, 'the key, not the user it acts for');
  assert.equal(event.epoch, 0);
  assert.equal(event.data.traceparent, traceparent);
  assert.deepEqual(event.data.limits, { max_steps: 9, max_output_tokens: 1024, timeout_seconds: 60 });
  assert.equal(event.data.cap_nano, 1_000_000_000, "the tenant's cap where none is stated");
  assert.deepEqual(Object.keys(event.refs).toSorted(), ['spec', 'submission']);
});

test('a malformed traceparent is ignored', async () => {
  const response = await h.call('POST', '/v1/runs', { json: body, headers: { traceparent: '00-xyz' } });
  const { id } = (await response.json()) as Run;
  const { entries } = await h.deps.runs.find('default', id);
  assert.ok(entries[0]?.includes('"traceparent":null'));
});

test('20 at once with one Idempotency-Key make one run', async () => {
  const headers = { 'idempotency-key': 'once' };
  const responses = await Promise.all(
    Array.from({ length: 20 }, () =>
      h.call('POST', '/v1/runs', { json: { ...body, input: 'race' }, headers }),
    ),
  );
  const runs = (await Promise.all(responses.map((response) => response.json()))) as Run[];
  assert.equal(new Set(runs.map(({ id }) => id)).size, 1);
  const statuses = responses.map(({ status }) => status);
  assert.equal(statuses.filter((status) => status === 202).length, 1);
  assert.equal(statuses.filter((status) => status === 200).length, 19);
  for (const response of responses) {
    assert.equal(response.headers.get('idempotent-replayed'), response.status === 200 ? 'true' : null);
    assert.equal(response.headers.get('location'), `/v1/runs/${runs[0]?.id}`);
  }
});

test('an Idempotency-Key belongs to its body (fields in any order) and its tenant', async () => {
  const headers = { 'idempotency-key': 'mine' };
  const first = await h.submit(body, { headers });
  const reordered = await h.call('POST', '/v1/runs', {
    body: JSON.stringify({ input: 'hi', agent: { model: 'mock/echo' } }),
    headers,
  });
  assert.equal(reordered.status, 200);
  assert.equal(((await reordered.json()) as Run).id, first.id);
  const other = await h.call('POST', '/v1/runs', { json: { ...body, input: 'other' }, headers });
  assert.equal(other.status, 422);
  assert.equal(((await other.json()) as { code: string }).code, 'idempotency_mismatch');
  const key = await h.key('neighbour', ['runs:write']);
  const neighbours = await h.submit(body, { headers, key });
  assert.notEqual(neighbours.id, first.id);
});

test('a request that made a run is answered with it, though it would be refused by now', async () => {
  const publish = (max_steps: number): Promise<Response> =>
    h.call('PUT', '/v1/agents/tightened', { json: { model: 'mock/echo', limits: { max_steps } } });
  const json = { agent: 'tightened', input: 'hi', limits: { max_steps: 50 } };
  const headers = { 'idempotency-key': 'lost-reply' };
  await publish(100);
  const first = await h.submit(json, { headers });
  await publish(10);
  const again = await h.call('POST', '/v1/runs', { json, headers });
  assert.equal(again.status, 200);
  assert.equal(again.headers.get('idempotent-replayed'), 'true');
  assert.equal(((await again.json()) as Run).id, first.id);
  const other = await h.call('POST', '/v1/runs', { json: { ...json, input: 'other' }, headers });
  assert.equal(((await other.json()) as { code: string }).code, 'idempotency_mismatch');
  const fresh = await h.call('POST', '/v1/runs', { json, headers: { 'idempotency-key': 'never-sent' } });
  assert.equal(((await fresh.json()) as { code: string }).code, 'invalid_request');
});

test('a refused body does not use up its Idempotency-Key', async () => {
  const headers = { 'idempotency-key': 'fixed-later' };
  assert.equal((await h.call('POST', '/v1/runs', { json: { ...body, colour: 1 }, headers })).status, 422);
  await h.submit(body, { headers });
});

test('the tightest of run, agent and tenant caps counts', async () => {
  const cap = async (own: number | undefined, agent: number | undefined): Promise<number | null> => {
    const run = await h.submit({
      agent: { model: 'mock/echo', limits: agent === undefined ? {} : { cost_usd: agent } },
      limits: own === undefined ? {} : { cost_usd: own },
    });
    return run.cost.cap_usd;
  };
  assert.equal(await cap(undefined, undefined), 1);
  assert.equal(await cap(undefined, 0.3), 0.3);
  assert.equal(await cap(0.1, 0.3), 0.1);
  assert.equal(await cap(5, undefined), 1);
  const caps = await getTenantCaps(h.deps.partition, 'default');
  await setTenantCaps(h.deps.partition, 'default', { ...caps, runNano: null });
  assert.equal(await cap(undefined, undefined), null);
  await setTenantCaps(h.deps.partition, 'default', caps);
});

test('a tenant without caps cannot submit', async () => {
  const key = await h.key('capless', ['admin']);
  await h.deps.partition.redis.del(`${h.deps.partition.root}:caps:capless`);
  const response = await h.call('POST', '/v1/runs', { json: body, key });
  assert.equal(response.status, 422);
  assert.equal(((await response.json()) as { code: string }).code, 'cap_missing');
});

test('run_at in the future waits on a timer, in the past is now', async () => {
  const later = await h.submit({ run_at: new Date(Date.now() + 3_600_000).toISOString() });
  assert.deepEqual([later.status, later.waiting_for], ['waiting', 'timer']);
  const now = await h.submit({ run_at: '2020-01-01T00:00:00+02:00' });
  assert.deepEqual([now.status, now.waiting_for], ['queued', null]);
});

test('a full audit backlog refuses new runs with Retry-After', async () => {
  // The first use of the key is an event too.
  const full = await openHarness({ auditBacklogLimit: 2 });
  try {
    await full.submit();
    const response = await full.call('POST', '/v1/runs', { json: body });
    assert.equal(response.status, 503);
    assert.ok(Number(response.headers.get('retry-after')) > 0);
    assert.equal(((await response.json()) as { code: string }).code, 'audit_backlog');
  } finally {
    await full.close();
  }
});

test('a queue that cannot be reached does not fail a submission', async () => {
  const quiet = await openHarness({
    queue: {
      add: () => Promise.reject(new Error('queue away')),
      waiting: () => Promise.resolve(0),
      close: () => Promise.resolve(),
    },
  });
  try {
    const run = await quiet.submit();
    assert.equal(run.status, 'queued');
  } finally {
    await quiet.close();
  }
});

test('NUL and lone surrogates in every text are taken, shown as U+FFFD, and stored', async () => {
  const odd = 'a\u0000b\ud800c\udc00d';
  const even = 'a\ufffdb\ufffdc\ufffdd';
  const run = await h.submit({
    agent: { model: 'mock/echo', instructions: odd, output_schema: { [odd]: odd } },
    input: [{ role: 'user', content: odd }],
    user_id: odd,
    session_id: odd,
    metadata: { [odd]: odd },
  });
  assert.deepEqual(run.input, [{ role: 'user', content: even }]);
  assert.deepEqual([run.user_id, run.session_id, run.metadata], [even, even, { [even]: even }]);
  const abort = await h.call('POST', `/v1/runs/${run.id}/abort`, { json: { reason: odd } });
  assert.equal(((await abort.json()) as Run).abort?.reason, even);
  const agent = await h.call('PUT', '/v1/agents/odd', { json: { model: 'mock/echo', instructions: odd } });
  assert.equal(((await agent.json()) as { spec: { instructions: string } }).spec.instructions, even);
  await storeAll(h);
  const listed = await h.call('GET', `/v1/runs?user_id=${encodeURIComponent(even)}`);
  const { data } = (await listed.json()) as { data: Run[] };
  assert.deepEqual(
    data.map(({ id, status }) => [id, status]),
    [[run.id, 'aborted']],
  );
  assert.equal((await h.call('GET', '/v1/runs?user_id=%00')).status, 200);
});

test('a replayed key answers with the run as it is now', async () => {
  const headers = { 'idempotency-key': 'later' };
  const run = await h.submit(body, { headers });
  const writer = await own(h, run.id);
  await writer.request(1);
  await writer.complete(1, 'done', true);
  const replay = await h.call('POST', '/v1/runs', { json: body, headers });
  assert.equal(replay.status, 200);
  assert.equal(((await replay.json()) as Run).status, 'succeeded');
});

import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { openLease } from '@signalbox/run-state';
import { type Harness, openHarness } from './harness.ts';
import { own } from './run-writer.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

test('autoscale counts demand and capacity, with exactly these fields', async () => {
  await openLease(h.deps.partition, { leaseId: 'lease_1', leaseMs: 60_000, slots: 7 });
  await h.submit();
  await h.submit({ priority: 'high' });
  await h.submit({ run_at: new Date(Date.now() + 3_600_000).toISOString() });
  await own(h, (await h.submit()).id);
  const answer = (await (await h.call('GET', '/v1/autoscale')).json()) as Record<string, number>;
  const { oldest_waiting_seconds: oldest, ...counts } = answer;
  assert.deepEqual(counts, {
    runnable: 3,
    waiting: 1,
    prioritized: 1,
    active: 1,
    parked: 1,
    delayed: 1,
    workers: 1,
    slots: 7,
  });
  assert.ok(typeof oldest === 'number' && oldest >= 0 && oldest < 60);
});

test('metrics tell what happened, without ids', async () => {
  await h.call('PUT', '/v1/agents/counted', { json: { model: 'mock/echo' } });
  const run = await h.submit({ agent: 'counted', user_id: 'user-77' });
  await h.call('GET', `/v1/runs/${run.id}`);
  const response = await h.call('GET', '/metrics', { key: null });
  const text = await response.text();
  const value = (name: string): number => {
    const line = text.split('\n').find((each) => each.startsWith(`signalbox_${name} `));
    assert.ok(line !== undefined, name);
    return Number(line.split(' ').at(-1));
  };
  assert.equal(value('runs_submitted_total{agent="counted"}'), 1);
  assert.ok(value('runs_submitted_total{agent="inline"}') >= 4);
  assert.equal(value('queue_depth{state="prioritized"}'), 1);
  assert.equal(value('queue_depth{state="parked"}'), 1);
  // Workers export these, each its own part: a total under their names would be added to them.
  assert.doesNotMatch(text, /^signalbox_(worker_slots|runs_active)\b/m);
  assert.ok(value('audit_backlog_events') >= 5);
  assert.ok(value('queue_oldest_waiting_seconds') >= 0);
  assert.equal(value('cap_remaining_ratio{scope="tenant_day"}'), 1);
  assert.equal(value('cost_held_usd'), 0);
  assert.ok(!text.includes('scope="tenant_month"'), 'no cap, no ratio');
  assert.ok(text.includes('route="/v1/runs/:id"'));
  assert.ok(!text.includes(run.id) && !text.includes('user-77'));
});

test('what is left of the caps and what is held can be watched', async () => {
  const held = await openHarness();
  try {
    await held.call('PUT', '/v1/caps/tenant', { json: { daily_usd: 0.002, monthly_usd: 0.004 } });
    const day = new Date().toISOString().slice(0, 10);
    await (await own(held, (await held.submit()).id, { day })).request(1);
    const text = await (await held.call('GET', '/metrics', { key: null })).text();
    assert.match(text, /^signalbox_cap_remaining_ratio\{scope="tenant_day"\} 0\.5$/m);
    assert.match(text, /^signalbox_cap_remaining_ratio\{scope="tenant_month"\} 0\.75$/m);
    assert.match(text, /^signalbox_cost_held_usd 0\.001$/m);
  } finally {
    await held.close();
  }
});

test('a tenant that may spend nothing is not one whose cap is nearly spent', async () => {
  const blocked = await openHarness();
  try {
    await blocked.call('PUT', '/v1/caps/tenant', { json: { daily_usd: 0, monthly_usd: 0.004 } });
    const text = await (await blocked.call('GET', '/metrics', { key: null })).text();
    assert.match(text, /^signalbox_cap_remaining_ratio\{scope="tenant_month"\} 1$/m);
    assert.ok(!text.includes('scope="tenant_day"'));
  } finally {
    await blocked.close();
  }
});

test('providers are listed with where their key comes from, never the key', async () => {
  const response = await h.call('GET', '/v1/providers');
  const { data, next_cursor } = (await response.json()) as {
    data: { provider: string; key: string; last_ping: null }[];
    next_cursor: null;
  };
  assert.equal(next_cursor, null);
  assert.deepEqual(
    data.filter(({ key }) => key === 'env').map(({ provider }) => provider),
    ['anthropic'],
  );
  assert.ok(data.some(({ provider }) => provider === 'mock'));
});

test('a request id is echoed when it is one, else made', async () => {
  const echoed = await h.call('GET', '/v1/providers', { headers: { 'x-request-id': 'abc-1' } });
  assert.equal(echoed.headers.get('x-request-id'), 'abc-1');
  const made = await h.call('GET', '/v1/providers', { headers: { 'x-request-id': 'no good!' } });
  assert.match(made.headers.get('x-request-id') ?? '', /^[0-9a-f-]{36}$/);
});

test('what comes while connections are being closed is refused as worth a retry, and changes nothing', async () => {
  const leaving = await openHarness();
  try {
    leaving.stop();
    const json = { agent: { model: 'mock/echo' }, input: 'x'.repeat(200_000) };
    const refused = await leaving.call('POST', '/v1/runs', { json });
    assert.deepEqual(
      [refused.status, refused.headers.get('retry-after'), refused.headers.get('content-type')],
      [503, '1', 'application/problem+json'],
    );
    assert.equal(((await refused.json()) as { code: string }).code, 'shutting_down');
    const { redis, root } = leaving.deps.partition;
    assert.equal(await redis.xlen(`${root}:audit`), 0);
    assert.equal((await leaving.call('GET', '/healthz', { key: null })).status, 200);
  } finally {
    await leaving.close();
  }
});

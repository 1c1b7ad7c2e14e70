/** The metrics of runs that the api ends, since no worker owned them (contract §4). */
import assert from 'node:assert/strict';
import { type TestContext, test } from 'node:test';
import { type Harness, openHarness } from './harness.ts';
import { own } from './run-writer.ts';

const HOUR = 3_600_000;

const setUp = async (t: TestContext) => {
  const h = await openHarness();
  t.after(() => h.close());
  await h.call('PUT', '/v1/agents/helper', { json: { model: 'mock/echo' } });
  const abort = async (id: string): Promise<number> => (await h.call('POST', `/v1/runs/${id}/abort`)).status;
  return { h, abort };
};

const read = async (h: Harness): Promise<(name: string) => number> => {
  const text = await (await h.call('GET', '/metrics', { key: null })).text();
  const samples = text.split('\n').map((line) => /^signalbox_(\S+) (\S+)$/.exec(line));
  return (name) => Number(samples.find((sample) => sample?.[1] === name)?.[2] ?? Number.NaN);
};

/** Its deadline is moved into the past instead of waiting for it. */
const loseLease = async (h: Harness, leaseId: string): Promise<void> => {
  const { redis, root } = h.deps.partition;
  await redis.zadd(`${root}:leases`, 1, leaseId);
};

test('each run that is aborted without an owner counts as finished and aborted, once', async (t) => {
  const { h, abort } = await setUp(t);
  const delayed = await h.submit({ agent: 'helper', run_at: new Date(Date.now() + HOUR).toISOString() });
  const queued = await h.submit({ agent: 'helper' });
  const parked = await h.submit();
  const parking = await own(h, parked.id);
  await parking.request(1);
  await parking.complete(1, 'wait a moment', false);
  await parking.park(Date.now() + HOUR);
  assert.equal(await abort(delayed.id), 202);
  assert.equal(await abort(parked.id), 202);
  await h.call('POST', '/v1/runs/abort', { json: { filter: { status: 'queued' } } });
  for (const { id } of [delayed, parked, queued]) assert.equal(await abort(id), 409);

  const value = await read(h);
  assert.equal(value('runs_finished_total{agent="helper",status="aborted",code=""}'), 2);
  assert.equal(value('runs_finished_total{agent="inline",status="aborted",code=""}'), 1);
  assert.equal(value('run_duration_seconds_count{agent="helper",status="aborted"}'), 2);
  assert.equal(value('aborts_total{state="before_start"}'), 2);
  assert.equal(value('aborts_total{state="between_steps"}'), 1);
  assert.equal(value('abort_latency_seconds_count'), 3);
});

test('a run with a live owner is counted by that owner alone', async (t) => {
  const { h, abort } = await setUp(t);
  const { id } = await h.submit({ agent: 'helper' });
  await (await own(h, id)).request(1);
  assert.equal(await abort(id), 202);
  const value = await read(h);
  assert.equal(value('abort_latency_seconds_count'), 0);
  assert.equal(value('runs_finished_total{agent="helper",status="aborted",code=""}'), Number.NaN);
});

test('an abort after a worker was lost in a call counts as one in flight, with what the call is charged', async (t) => {
  const { h, abort } = await setUp(t);
  const { id } = await h.submit({ agent: 'helper' });
  const writer = await own(h, id);
  await writer.request(1);
  await loseLease(h, writer.claimed.leaseId);
  assert.equal(await abort(id), 202);
  const value = await read(h);
  assert.equal(value('aborts_total{state="in_flight"}'), 1);
  assert.equal(value('cost_usd_total{provider="mock",model="echo"}'), 0.001);
  assert.equal(value('runs_finished_total{agent="helper",status="aborted",code=""}'), 1);
});

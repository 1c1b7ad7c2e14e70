/** The audit store is moments behind a run: who verifies one that has just ended means all of it. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { type Clock, systemClock } from '@signalbox/runtime';
import { storeAll } from './audit.ts';
import { type Harness, openHarness } from './harness.ts';
import { finish } from './run-writer.ts';

let h: Harness;
let behindMs = 0;
let whileWaiting: () => Promise<void>;
const clock: Clock = {
  now: () => systemClock.now(),
  monotonic: () => behindMs,
  sleep: async (ms) => {
    behindMs += ms;
    await whileWaiting();
  },
};
before(async () => {
  h = await openHarness({ clock });
});
after(() => h.close());
beforeEach(() => {
  whileWaiting = () => Promise.resolve();
});

const verify = async (runId: string): Promise<Record<string, unknown>> => {
  const answer = await h.call('POST', '/v1/audit/verify', { json: { run_id: runId } });
  const { code = null, ok = null, checked = null } = (await answer.json()) as Record<string, unknown>;
  return { status: answer.status, code, ok, checked, retry: answer.headers.get('retry-after') };
};

const eventsOf = async (runId: string): Promise<number> => {
  const { data } = (await (await h.call('GET', `/v1/runs/${runId}/events`)).json()) as { data: unknown[] };
  return data.length;
};

test('a run that is stored only while its verification waits is verified to its end', async () => {
  const { id } = await h.submit();
  await finish(h, id);
  whileWaiting = () => storeAll(h);
  const checked = await eventsOf(id);
  assert.deepEqual(await verify(id), { status: 200, code: null, ok: true, checked, retry: null });
});

test('one of which a part is stored is waited for, and then verified as far as it has come', async () => {
  const { id } = await h.submit();
  await storeAll(h);
  await finish(h, id);
  const begun = behindMs;
  assert.deepEqual(await verify(id), { status: 200, code: null, ok: true, checked: 1, retry: null });
  assert.ok(behindMs - begun >= 5000);
  await storeAll(h);
});

test('one of which nothing is stored is not called unknown', async () => {
  const { id } = await h.submit();
  const behind = { status: 503, code: 'audit_behind', ok: null, checked: null, retry: '5' };
  assert.deepEqual(await verify(id), behind);
  await storeAll(h);
  assert.deepEqual(await verify(id), { status: 200, code: null, ok: true, checked: 1, retry: null });
});

test("another tenant's run is unknown at once, stored or not", async () => {
  const { id } = await h.submit({}, { key: await h.key('another', ['admin']) });
  const begun = behindMs;
  const unknown = { status: 404, code: 'not_found', ok: null, checked: null, retry: null };
  assert.deepEqual(await verify(id), unknown);
  await storeAll(h);
  assert.deepEqual(await verify(id), unknown);
  assert.equal(behindMs, begun);
});

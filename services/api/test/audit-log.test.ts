import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { keyOf } from '../src/keys/api-keys.ts';
import { storeAll } from './audit.ts';
import { type Harness, openHarness } from './harness.ts';
import { finish } from './run-writer.ts';
import { all, type AuditEvent, exported } from './audit-pages.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

test('what is done to a tenant is in its audit log, with who did it, without secrets', async () => {
  const key = await h.key('told', ['admin']);
  const of = (method: string, path: string, json?: object): Promise<Response> =>
    h.call(method, path, json === undefined ? { key } : { key, json });
  const made = (await (
    await of('POST', '/v1/keys', { name: 'for ann@example.com', scopes: ['runs:read'] })
  ).json()) as { id: string; secret: string };
  await of('DELETE', `/v1/keys/${made.id}`);
  await of('PUT', '/v1/caps/tenant', { daily_usd: 7 });
  await of('PUT', '/v1/caps/tenant', { daily_usd: 5 });
  await of('PUT', '/v1/caps/users/u1', { daily_usd: 1 });
  await of('DELETE', '/v1/caps/users/u1');
  // What changes nothing is no change.
  await of('DELETE', '/v1/caps/users/u1');
  await of('PUT', '/v1/caps/tenant', { daily_usd: 5 });
  await of('PUT', '/v1/agents/helper', { model: 'mock/echo' });
  await of('PUT', '/v1/agents/helper', { model: 'mock/echo' });
  const run = await h.submit({}, { key });
  await of('GET', `/v1/runs/${run.id}/steps`);
  const blind = await h.key('told', ['runs:read']);
  await h.call('GET', `/v1/runs/${run.id}/steps`, { key: blind });
  await of('POST', '/v1/runs/abort', { filter: { all: true }, dry_run: true });
  await of('POST', '/v1/runs/abort', { filter: { all: true }, reason: 'sk-proj-0123456789abcdefghij' });
  await storeAll(h);

  const events = (await all(h, '&category=admin', key)).toReversed();
  const told = events.filter(({ type }) => type !== 'key.used');
  assert.deepEqual(
    told.map(({ type }) => type),
    [
      'key.created',
      'key.revoked',
      ...Array.from({ length: 4 }, () => 'caps.changed'),
      'agent.changed',
      'content.read',
      'runs.aborted',
    ],
  );
  for (const { run_id, actor, event_id } of told) {
    assert.equal(run_id, 'admin_told');
    assert.equal(actor.type, 'operator');
    assert.match(actor.id, /^key_/);
    assert.match(event_id, /^evt_/);
  }
  const [created, , first, second, user, dropped, agent, read, aborted] = told.map(({ data }) => data);
  assert.match(String(created?.['name']), /^for \[EMAIL:[0-9a-f]{8}\]$/);
  assert.deepEqual(created, {
    key_id: made.id,
    name: created?.['name'],
    scopes: ['runs:read'],
    expires_at: null,
  });
  const daily = (caps: unknown): unknown => (caps as Record<string, unknown>)['daily_usd'];
  assert.deepEqual([daily(first?.['before']), daily(first?.['after'])], [200, 7]);
  assert.deepEqual([daily(second?.['before']), daily(second?.['after'])], [7, 5]);
  assert.deepEqual(user, { user_id: 'u1', before: {}, after: { daily_usd: 1 } });
  assert.deepEqual(dropped, { user_id: 'u1', before: { daily_usd: 1 }, after: {} });
  assert.deepEqual([agent?.['name'], agent?.['version']], ['helper', 1]);
  assert.deepEqual(read, { run_id: run.id, by: 'steps' });
  assert.deepEqual(aborted, { filter: { all: true }, matched: 1, reason: '[REDACTED]' });
  // Once for the key that reads, once and once more for its routes that need admin.
  const uses = events.filter(({ type }) => type === 'key.used').map(({ data }) => data['admin']);
  assert.deepEqual([uses.length, uses.filter((admin) => admin === true).length], [3, 1]);
  const text = JSON.stringify(await exported(h, '', key));
  for (const secret of [made.secret, key, 'ann@example.com', 'sk-proj']) assert.ok(!text.includes(secret));
});

test('who did something is told, whatever is set as the key of a provider', async () => {
  const [key, other] = [await h.key('hiding', ['admin']), await h.key('hiding', ['admin'])];
  const { id } = keyOf(key);
  await h.call('PUT', '/v1/providers/openai/key', { key, json: { key: id } });
  assert.equal((await h.call('PUT', '/v1/caps/users/u1', { key, json: { daily_usd: 1 } })).status, 200);
  assert.equal((await h.call('DELETE', `/v1/keys/${id}`, { key: other })).status, 200);
  await storeAll(h);
  const events = await all(h, '&category=admin', other);
  const of = (type: string): AuditEvent | undefined => events.find((event) => event.type === type);
  assert.deepEqual([of('caps.changed')?.actor.id, of('key.revoked')?.data['key_id']], [id, id]);
});

test('refused requests are counted by source and reason, so that they cannot flood the log', async () => {
  const key = await h.key('guarded', ['runs:read']);
  for (let n = 0; n < 5; n += 1) await h.call('PUT', '/v1/caps/tenant', { key, json: {} });
  for (let n = 0; n < 200; n += 1) await h.call('GET', '/v1/runs', { key: `guess-${n}` });
  for (let n = 0; n < 30; n += 1) await h.call('GET', '/v1/runs', { key: 'guess-7' });
  await h.call('GET', '/v1/runs', { key: null });
  await h.deps.refusals.flush();
  await h.deps.refusals.flush();
  await storeAll(h);
  const of = async (tenantId: string) => {
    const rows = await h.db
      .selectFrom('audit_events')
      .select(['data', 'body'])
      .where('run_id', '=', `admin_${tenantId}`)
      .where('type', '=', 'auth.refused')
      .execute();
    assert.ok(rows.every(({ body }) => body !== null && !body.includes('guess-')));
    return rows.map(
      ({ data }) => data as { reason: string; source: string | null; route: string; count: number },
    );
  };
  const guarded = await of('guarded');
  assert.deepEqual(
    guarded.map(({ reason, route, count }) => [reason, route, count]),
    [['missing_scope', 'PUT /v1/caps/tenant', 5]],
  );
  assert.match(guarded[0]?.source ?? '', /^key_/);
  const strangers = await of('system');
  const unknown = strangers.filter(({ reason }) => reason === 'unknown_key');
  assert.equal(unknown.length, 21);
  assert.equal(
    unknown.reduce((sum, { count }) => sum + count, 0),
    230,
  );
  assert.equal(unknown.find(({ source }) => source === null)?.count, 180);
  assert.equal(Math.max(...unknown.filter(({ source }) => source !== null).map(({ count }) => count)), 31);
  assert.deepEqual(
    strangers.filter(({ reason }) => reason === 'missing_key').map(({ count }) => count),
    [1],
  );
});

test('the log is filtered and paged: newest first, a run in its own order', async () => {
  const key = await h.key('paged', ['admin']);
  const runs = [await h.submit({ user_id: 'u1' }, { key }), await h.submit({ user_id: 'u1' }, { key })];
  for (const { id } of runs) await finish(h, id, 2);
  await storeAll(h);
  const [first, second] = runs.map(({ id }) => id);
  assert.ok(first !== undefined && second !== undefined);

  const log = await all(h, '', key);
  assert.deepEqual(
    log.map(({ ts }) => ts),
    log
      .map(({ ts }) => ts)
      .toSorted()
      .toReversed(),
  );
  assert.equal(new Set(log.map(({ event_id }) => event_id)).size, log.length);
  const journal = await all(h, `&run_id=${first}`, key);
  assert.deepEqual(
    journal.map(({ seq }) => seq),
    Array.from({ length: journal.length }, (_, i) => i + 1),
  );
  assert.equal(journal.at(-1)?.type, 'run.succeeded');
  assert.equal(log.filter(({ run_id }) => run_id === first).length, journal.length);

  const types = async (query: string): Promise<Set<string>> =>
    new Set((await all(h, query, key)).map(({ type }) => type));
  assert.deepEqual(await types('&category=llm'), new Set(['llm.requested', 'llm.completed']));
  assert.deepEqual(await types('&type=run.submitted'), new Set(['run.submitted']));
  const who = log.find(({ type }) => type === 'run.submitted')?.actor.id ?? '';
  assert.ok((await all(h, `&actor=${who}`, key)).every(({ actor }) => actor.id === who));
  const middle = log[Math.floor(log.length / 2)]?.ts ?? '';
  const [until, since] = [await all(h, `&to=${middle}`, key), await all(h, `&from=${middle}`, key)];
  assert.equal(until.length + since.length, log.length);
  assert.ok(
    since.length > 0 && since.every(({ ts }) => ts >= middle) && until.every(({ ts }) => ts < middle),
  );

  for (const query of [
    '?limit=0',
    '?category=all',
    '?from=today',
    '?cursor=abc',
    `?from=${middle}&to=2020-01-01T00:00:00Z`,
  ]) {
    assert.equal((await h.call('GET', `/v1/audit${query}`, { key })).status, 422, query);
  }
});

test('the log is verified, whole and run by run; that somebody asked is in it, with the answer', async () => {
  const key = await h.key('checked', ['admin']);
  const run = await h.submit({}, { key });
  await finish(h, run.id);
  await storeAll(h);
  const verify = async (json?: object): Promise<Response> =>
    h.call('POST', '/v1/audit/verify', json === undefined ? { key } : { key, json });
  const whole = (await (await verify()).json()) as { ok: boolean; checked: number };
  assert.equal(whole.ok, true);
  const one = (await (await verify({ run_id: run.id })).json()) as typeof whole;
  assert.ok(one.ok && one.checked > 0 && one.checked < whole.checked);
  assert.equal((await verify({ run_id: 'run_nobody' })).status, 404);
  await storeAll(h);
  const asked = await all(h, '&type=chain.verified', key);
  assert.deepEqual(
    asked.map(({ data }) => [data['run_id'], data['ok'], data['checked']]),
    [
      [run.id, true, one.checked],
      [null, true, whole.checked],
    ],
  );
});

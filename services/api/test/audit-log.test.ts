import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { after, before, test } from 'node:test';
import { chainBreak } from '@signalbox/engine';
import { type Clock, systemClock } from '@signalbox/runtime';
import { keyOf } from '../src/keys/api-keys.ts';
import { createApp } from '../src/http/app.ts';
import { storeAll } from './audit.ts';
import { type Harness, openHarness } from './harness.ts';
import { finish } from './run-writer.ts';

interface AuditEvent {
  readonly event_id: string;
  readonly run_id: string;
  readonly seq: number;
  readonly type: string;
  readonly category: string;
  readonly ts: string;
  readonly actor: { type: string; id: string };
  readonly data: Record<string, unknown>;
}
interface Page {
  readonly data: AuditEvent[];
  readonly next_cursor: string | null;
}
interface Line {
  readonly chain: string;
  readonly run_id: string;
  readonly seq: number;
  readonly hash: string;
  readonly body: string;
}

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

const page = async (query: string, key?: string): Promise<Page> => {
  const response = await h.call('GET', `/v1/audit${query}`, key === undefined ? {} : { key });
  assert.equal(response.status, 200, await response.clone().text());
  return (await response.json()) as Page;
};
const all = async (query: string, key?: string): Promise<AuditEvent[]> => {
  const events: AuditEvent[] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const next: Page = await page(`?limit=3${query}${cursor === '' ? '' : `&cursor=${cursor}`}`, key);
    events.push(...next.data);
    cursor = next.next_cursor;
  }
  return events;
};
const exported = async (query: string, key: string): Promise<{ lines: Line[]; end: unknown }> => {
  const response = await h.call('GET', `/v1/audit/export${query}`, { key });
  assert.equal(response.headers.get('content-type'), 'application/x-ndjson');
  const lines = (await response.text())
    .trimEnd()
    .split('\n')
    .map((line) => JSON.parse(line) as Line);
  return { end: lines.pop(), lines };
};

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
  await of('PUT', '/v1/agents/helper', { model: 'mock/echo' });
  await of('PUT', '/v1/agents/helper', { model: 'mock/echo' });
  const run = await h.submit({}, { key });
  await of('GET', `/v1/runs/${run.id}/steps`);
  const blind = await h.key('told', ['runs:read']);
  await h.call('GET', `/v1/runs/${run.id}/steps`, { key: blind });
  await of('POST', '/v1/runs/abort', { filter: { all: true }, dry_run: true });
  await of('POST', '/v1/runs/abort', { filter: { all: true }, reason: 'sk-proj-0123456789abcdefghij' });
  await storeAll(h);

  const events = (await all('&category=admin', key)).toReversed();
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
  const text = JSON.stringify(await exported('', key));
  for (const secret of [made.secret, key, 'ann@example.com', 'sk-proj']) assert.ok(!text.includes(secret));
});

test('who did something is told, whatever is set as the key of a provider', async () => {
  const [key, other] = [await h.key('hiding', ['admin']), await h.key('hiding', ['admin'])];
  const { id } = keyOf(key);
  await h.call('PUT', '/v1/providers/openai/key', { key, json: { key: id } });
  assert.equal((await h.call('PUT', '/v1/caps/users/u1', { key, json: { daily_usd: 1 } })).status, 200);
  assert.equal((await h.call('DELETE', `/v1/keys/${id}`, { key: other })).status, 200);
  await storeAll(h);
  const events = await all('&category=admin', other);
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

  const log = await all('', key);
  assert.deepEqual(
    log.map(({ ts }) => ts),
    log
      .map(({ ts }) => ts)
      .toSorted()
      .toReversed(),
  );
  assert.equal(new Set(log.map(({ event_id }) => event_id)).size, log.length);
  const journal = await all(`&run_id=${first}`, key);
  assert.deepEqual(
    journal.map(({ seq }) => seq),
    Array.from({ length: journal.length }, (_, i) => i + 1),
  );
  assert.equal(journal.at(-1)?.type, 'run.succeeded');
  assert.equal(log.filter(({ run_id }) => run_id === first).length, journal.length);

  const types = async (query: string): Promise<Set<string>> =>
    new Set((await all(query, key)).map(({ type }) => type));
  assert.deepEqual(await types('&category=llm'), new Set(['llm.requested', 'llm.completed']));
  assert.deepEqual(await types('&type=run.submitted'), new Set(['run.submitted']));
  const who = log.find(({ type }) => type === 'run.submitted')?.actor.id ?? '';
  assert.ok((await all(`&actor=${who}`, key)).every(({ actor }) => actor.id === who));
  const middle = log[Math.floor(log.length / 2)]?.ts ?? '';
  const [until, since] = [await all(`&to=${middle}`, key), await all(`&from=${middle}`, key)];
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

test('an export has every chain whole, exactly as it was hashed, and is written down itself', async () => {
  const key = await h.key('exported', ['admin']);
  const runs = [];
  for (let n = 0; n < 3; n += 1) runs.push(await h.submit({}, { key }));
  for (const { id } of runs) await finish(h, id);
  await storeAll(h);
  const { lines, end } = await exported('', key);
  assert.deepEqual(end, { end: true, lines: lines.length, checkpoint: 0 });
  const chains = Map.groupBy(lines, ({ run_id }) => run_id);
  assert.deepEqual([...chains.keys()], ['admin_exported', ...runs.map(({ id }) => id).toSorted()]);
  for (const [id, chain] of chains) {
    assert.equal(chainBreak(chain.map(({ hash, body }) => hash + body)), null, id);
    for (const { hash, body, chain: kind } of chain) {
      assert.equal(createHash('sha256').update(body).digest('hex'), hash);
      assert.equal(kind, id.startsWith('admin_') ? 'admin' : 'run');
    }
  }
  await storeAll(h);
  const [event] = await all('&type=audit.exported', key);
  assert.deepEqual(event?.data, { run_id: null, from: null, to: null });
  const one = await exported(`?run_id=${runs[1]?.id}`, key);
  assert.deepEqual(new Set(one.lines.map(({ run_id }) => run_id)), new Set([runs[1]?.id]));
});

test('a client that leaves an export stops its reading', async () => {
  const key = await h.key('left', ['admin']);
  for (let n = 0; n < 4; n += 1) await h.submit({}, { key });
  await storeAll(h);
  // More runs than one page names.
  await h.db
    .insertInto('runs')
    .values(
      Array.from({ length: 2000 }, (_, i) => {
        const id = `run_${String(i).padStart(32, '0')}`;
        return { id, tenant_id: 'left', root_run_id: id, created_at: new Date() };
      }),
    )
    .execute();
  let reads = 0;
  const db = h.db.withPlugin({
    transformQuery: ({ node }) => {
      reads += 1;
      return node;
    },
    transformResult: ({ result }) => Promise.resolve(result),
  });
  const app = createApp({ ...h.deps, db });
  const ask = async (): Promise<Response> =>
    app.fetch(new Request('http://api/v1/audit/export', { headers: { authorization: `Bearer ${key}` } }));
  await (await ask()).text();
  const whole = reads;
  assert.ok(whole > 20, String(whole));
  reads = 0;
  const reader = (await ask()).body?.getReader();
  const { value } = (await reader?.read()) ?? {};
  assert.ok(value !== undefined);
  await reader?.cancel();
  // Time enough for a reading that goes on.
  for (let n = 0; n < 20; n += 1) await page('', key);
  assert.ok(reads < whole / 2, `${reads} of ${whole} reads`);
});

test('an export is cut off once its key is revoked, and looks at a key no longer than it goes on', async () => {
  const looking: AbortSignal[] = [];
  // Its looks come a hundred times as often.
  const clock: Clock = {
    ...systemClock,
    sleep: (ms, signal) => {
      if (signal !== undefined) looking.push(signal);
      return systemClock.sleep(ms / 100, signal);
    },
  };
  const fast = await openHarness({ clock });
  const begin = async (key: string): Promise<ReadableStreamDefaultReader<Uint8Array>> => {
    const { body } = await fast.call('GET', '/v1/audit/export', { key });
    return body?.getReader() ?? assert.fail('no body');
  };
  try {
    const [leaver, stayer] = [await fast.key('cut', ['audit:read']), await fast.key('cut', ['admin'])];
    await fast.submit({}, { key: stayer });
    await storeAll(fast);
    const reader = await begin(leaver);
    assert.equal((await reader.read()).done, false);
    const [look] = looking;
    assert.ok(look !== undefined);
    const gone = once(look, 'abort');
    const { id } = keyOf(leaver);
    assert.equal((await fast.call('DELETE', `/v1/keys/${id}`, { key: stayer })).status, 200);
    await gone;
    await assert.rejects(reader.read());

    const whole = await begin(stayer);
    while (!(await whole.read()).done);
    assert.ok(looking.length > 1 && looking.every(({ aborted }) => aborted));
  } finally {
    await fast.close();
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
  const asked = await all('&type=chain.verified', key);
  assert.deepEqual(
    asked.map(({ data }) => [data['run_id'], data['ok'], data['checked']]),
    [
      [run.id, true, one.checked],
      [null, true, whole.checked],
    ],
  );
});

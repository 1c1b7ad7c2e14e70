import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { createPool } from '@signalbox/audit-store';
import { newId } from '@signalbox/contracts';
import { type Harness, openHarness } from './harness.ts';
import { INVALID, refusedBy, VALID } from './refused.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

const refused = refusedBy(() => h);

test('a missing, malformed or unknown key is unauthenticated; a known one without the scope forbidden', async () => {
  for (const headers of [
    {},
    { authorization: 'Basic eDp5' },
    { authorization: 'Bearer' },
    { authorization: 'Bearer nobody' },
  ]) {
    const response = await h.call('POST', '/v1/runs', { key: null, headers, json: VALID });
    assert.equal(response.status, 401);
    assert.equal(response.headers.get('www-authenticate'), 'Bearer realm="signalbox"');
  }
  const reader = await h.key('default', ['runs:read']);
  await refused('POST', '/v1/runs', { key: reader, json: VALID }, { status: 403, code: 'forbidden' });
  await refused(
    'PUT',
    '/v1/agents/a',
    { key: reader, json: { model: 'mock/echo' } },
    { status: 403, code: 'forbidden' },
  );
  assert.ok(!h.logs.join('').includes(reader), 'no key in the logs');
});

test('an expired key is unauthenticated', async () => {
  const { mirrorApiKey } = await import('@signalbox/run-state');
  const { sha256Hex } = await import('@signalbox/runtime');
  await mirrorApiKey(h.deps.partition, sha256Hex('old'), {
    keyId: 'key_old',
    tenantId: 'default',
    scopes: ['admin'],
    expiresAt: '2020-01-01T00:00:00Z',
  });
  await refused('GET', '/v1/runs', { key: 'old' }, { status: 401, code: 'unauthenticated' });
});

test("another tenant's, an unknown and a malformed id look alike", async () => {
  const run = await h.submit();
  const stranger = await h.key('stranger', ['admin']);
  const notFound = { status: 404, code: 'not_found' };
  for (const path of ['', '?wait=5', '/events', '/steps']) {
    await refused('GET', `/v1/runs/${run.id}${path}`, { key: stranger }, notFound);
    await refused('GET', `/v1/runs/${newId('run')}${path}`, {}, notFound);
    await refused('GET', `/v1/runs/nonsense${path}`, {}, notFound);
  }
  const sse = { headers: { accept: 'text/event-stream' } };
  await refused('GET', `/v1/runs/${run.id}/events`, { ...sse, key: stranger }, notFound);
  await refused('POST', `/v1/runs/${run.id}/abort`, { key: stranger, json: {} }, notFound);
  await refused('GET', '/v1/agents/Not%20A%20Name', {}, notFound);
  const still = (await (await h.call('GET', `/v1/runs/${run.id}`)).json()) as { abort: unknown };
  assert.equal(still.abort, null);
});

test('an address whose percent signs spell no UTF-8 names nobody, whoever would bear that name', async () => {
  const invalid = { status: 422, code: 'invalid_request' };
  for (const user of ['M%FCller', '%E0%A4%A', '%ED%A0%80', '100%', 'a%2Fb%zz']) {
    await refused('PUT', `/v1/caps/users/${user}`, { json: { daily_usd: 0 } }, invalid);
    await refused('GET', `/v1/runs?user_id=${user}`, {}, invalid);
  }
  const found = await h.call('GET', '/v1/caps/users/M%C3%BCller%20100%25');
  assert.equal(((await found.json()) as { user_id: string }).user_id, 'Müller 100%');
});

const QUERIES: readonly [path: string, field: string][] = [
  ['/v1/runs?cursor=nonsense', 'cursor'],
  [`/v1/runs?cursor=${Buffer.from('run_1').toString('base64url')}`, 'cursor'],
  ['/v1/runs?limit=0', 'limit'],
  ['/v1/runs?limit=101', 'limit'],
  ['/v1/runs?limit=ten', 'limit'],
  ['/v1/runs?status=done', 'status'],
  ['/v1/runs?created_after=yesterday', 'created_after'],
  ['/v1/runs?colour=red', 'colour'],
  ['/v1/runs?limit=1&limit=2', 'limit'],
  ['/v1/agents?cursor=%00', 'cursor'],
  ['/v1/agents/known?version=0', 'version'],
];

for (const [path, field] of QUERIES) {
  test(`a query is refused: ${path}`, async () => {
    await refused('GET', path, {}, { ...INVALID, path: field });
  });
}

test('what is wrong with an address or a query is told', async () => {
  const notFound = { status: 404, code: 'not_found' };
  for (const [method, path, detail] of [
    ['GET', '/v1/runs/latest', 'id: expected an id of the form run_<32 hex digits>'],
    ['DELETE', '/v1/keys/mine', 'id: expected an id of the form key_<32 hex digits>'],
    ['GET', '/v1/agents/A', 'name: expected 1-63 of a-z 0-9 . _ -, not starting with a sign'],
  ] as const) {
    const problem = await refused(method, path, {}, notFound);
    assert.equal(problem.detail, `There is nothing at this address: ${detail}.`);
  }
  const twice = await refused('GET', '/v1/runs?status=queued&status=failed', {}, INVALID);
  assert.deepEqual(twice.errors, [{ path: 'status', message: 'given more than once' }]);
});

test('a query or a body that a route does not take is refused, and nothing is done', async () => {
  const { id } = await h.submit(VALID);
  const all = { json: { filter: { all: true } } };
  await refused('POST', '/v1/runs/abort?dry_run=true', all, { ...INVALID, path: 'dry_run' });
  await refused('POST', '/v1/runs/batch?dry_run=1', { json: { runs: [VALID] } }, INVALID);
  await refused('GET', `/v1/runs/${id}/steps?limit=1`, {}, { ...INVALID, path: 'limit' });
  const body = { json: { reason: 'asked to' } };
  await refused('POST', `/v1/runs/${id}/replay`, body, { ...INVALID, path: 'reason' });
  await refused('DELETE', `/v1/runs/${id}/content`, body, { ...INVALID, path: 'reason' });
  assert.equal((await h.call('POST', `/v1/runs/${id}/replay`, { json: {} })).status, 200);
  const run = await h.call('GET', `/v1/runs/${id}`);
  assert.equal(((await run.json()) as { status: string }).status, 'queued');
});

test('wait, after and Last-Event-ID are checked before anything is answered', async () => {
  const { id } = await h.submit();
  await refused('GET', `/v1/runs/${id}?wait=56`, {}, { ...INVALID, path: 'wait' });
  await refused('GET', `/v1/runs/${id}?wait=-1`, {}, { ...INVALID, path: 'wait' });
  await refused('GET', `/v1/runs/${id}/events?after=x`, {}, { ...INVALID, path: 'after' });
  for (const lastEventId of ['x', '-1', '1.5', '9'.repeat(20)]) {
    const headers = { accept: 'text/event-stream', 'last-event-id': lastEventId };
    await refused('GET', `/v1/runs/${id}/events`, { headers }, { ...INVALID, path: 'Last-Event-ID' });
  }
});

test('an Idempotency-Key must be visible ASCII of at most 255 characters', async () => {
  for (const key of ['x'.repeat(256), 'a b', 'é']) {
    const headers = { 'idempotency-key': key };
    await refused('POST', '/v1/runs', { json: VALID, headers }, { ...INVALID, path: 'Idempotency-Key' });
  }
});

test('unknown routes are 404, known ones with another method 405 with Allow', async () => {
  await refused('GET', '/v1/nothing', {}, { status: 404, code: 'not_found' });
  await refused('GET', '/nothing', { key: null }, { status: 404, code: 'not_found' });
  const response = await h.call('DELETE', '/v1/runs');
  assert.equal(response.status, 405);
  assert.deepEqual(response.headers.get('allow')?.split(', ').toSorted(), ['GET', 'HEAD', 'POST']);
});

test('what breaks inside is logged with the request id and told to nobody', async () => {
  const broken = await openHarness({
    runs: {
      find: () => Promise.reject(new Error('secret detail of our insides')),
      entries: () => Promise.reject(new Error('secret detail')),
      list: () => Promise.reject(new Error('secret detail')),
    },
  });
  try {
    const headers = { 'x-request-id': 'trace-me' };
    const response = await broken.call('GET', `/v1/runs/${newId('run')}`, { headers });
    assert.equal(response.status, 500);
    assert.equal(response.headers.get('x-request-id'), 'trace-me');
    assert.ok(!(await response.text()).includes('secret'));
    const line = broken.logs.find((log) => log.includes('request failed')) ?? '';
    assert.equal((JSON.parse(line) as { request_id: string }).request_id, 'trace-me');
    assert.ok(line.includes('secret detail'));
  } finally {
    await broken.close();
  }
});

test('who an address names is redacted in the log as everywhere, however it is spelled', async () => {
  const away = { databaseUrl: 'postgres://nobody@127.0.0.1:1/none', role: 'api' } as const;
  const broken = await openHarness({ db: createPool({ ...away, onError: () => undefined }) });
  try {
    for (const user of ['ann%40example.com', 'ann@example.com', '%61nn%40example%2ecom']) {
      const json = { daily_usd: 1 };
      assert.equal((await broken.call('PUT', `/v1/caps/users/${user}`, { json })).status, 503);
      const { path } = JSON.parse(broken.logs.at(-2) ?? '') as { path: string };
      assert.match(path, /^\/v1\/caps\/users\/.*\[EMAIL\]$/);
    }
  } finally {
    await broken.close();
  }
});

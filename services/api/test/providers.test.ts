/** Provider keys over HTTP: set, used, tried, removed; and never told. */
import assert from 'node:assert/strict';
import { after, before, beforeEach, test } from 'node:test';
import { listProviderKeys } from '@signalbox/audit-store';
import { createKeyVault, createModels } from '@signalbox/providers';
import { findProviderKeys } from '@signalbox/run-state';
import { createKeyring, newDataKey, sha256Hex, systemClock } from '@signalbox/runtime';
import { HeldSecrets } from '@signalbox/engine';
import { type FakeProvider, startFakeProvider } from '../../../test/support/fake-provider/index.ts';
import { createApp } from '../src/http/app.ts';
import { type CallOptions, type Harness, openHarness } from './harness.ts';

interface Provider {
  readonly provider: string;
  readonly key: string;
  readonly last_ping: { at: string; ok: boolean; ms: number; error?: string } | null;
}

/** Of no form that is known as a secret: it is taken out because it is held. */
const KEY = 'plain words+of/acme=1';
const SECRET = KEY.replaceAll(' ', '_');
const ENV = 'key-of-the-environment';

let fake: FakeProvider;
let h: Harness;
let refused: string | null = null;
before(async () => {
  fake = await startFakeProvider({ pingStatus: (key) => (key === refused ? 401 : 200) });
  const baseUrls = { anthropic: fake.anthropicBaseUrl, openai: fake.openaiBaseUrl };
  h = await openHarness({ models: createModels({ clock: systemClock, baseUrls, timeoutMs: 5000 }) });
});
after(async () => {
  await h.close();
  await fake.stop();
});
beforeEach(() => {
  refused = null;
});

const ok = async (method: string, path: string, options: CallOptions = {}): Promise<Provider> => {
  const response = await h.call(method, path, options);
  assert.equal(response.status, 200, await response.clone().text());
  return (await response.json()) as Provider;
};
const setKey = (provider: string, secret = SECRET, options: CallOptions = {}): Promise<Provider> =>
  ok('PUT', `/v1/providers/${provider}/key`, { ...options, json: { key: secret } });
const listed = async (provider: string, options: CallOptions = {}): Promise<Provider | undefined> => {
  const { data } = (await (await h.call('GET', '/v1/providers', options)).json()) as { data: Provider[] };
  return data.find((one) => one.provider === provider);
};

/** Everything of the database and of Redis, as text. */
const allStored = async (): Promise<string> => {
  const rows = await h.db.selectFrom('provider_keys').selectAll().execute();
  const { redis, root } = h.deps.partition;
  const hashes: unknown[] = [];
  for (const key of await redis.keys(`${root}:*`))
    if ((await redis.type(key)) === 'hash') hashes.push(await redis.hgetall(key));
  const stream = JSON.stringify(await redis.xrange(`${root}:audit`, '-', '+'));
  return JSON.stringify([rows, hashes, stream]);
};
const trail = async (type: string): Promise<object[]> => {
  const { redis, root } = h.deps.partition;
  const text = JSON.stringify(await redis.xrange(`${root}:audit`, '-', '+'));
  const found = text.matchAll(/\{\\"event_id\\":.*?\\"data\\":(\{.*?\})\}/g);
  return [...found]
    .filter(([event]) => event.includes(`\\"${type}\\"`))
    .map(([, data = '']) => JSON.parse(data.replaceAll('\\"', '"')) as object);
};

test('a key that is set is used, one that is removed is not; both are written down, by its id alone', async () => {
  const key = await h.key('changes', ['admin']);
  assert.equal((await listed('anthropic', { key }))?.key, 'env');
  assert.equal((await setKey('anthropic', SECRET, { key })).key, 'vault');
  assert.equal((await setKey('openai', SECRET, { key })).key, 'vault');
  await setKey('openai', SECRET, { key });
  assert.equal((await listed('anthropic', { key }))?.key, 'vault');
  assert.equal((await ok('DELETE', '/v1/providers/anthropic/key', { key })).key, 'env');
  assert.equal((await ok('DELETE', '/v1/providers/openai/key', { key })).key, 'none');
  assert.equal((await ok('DELETE', '/v1/providers/openai/key', { key })).key, 'none');
  const id = (provider: 'anthropic' | 'openai'): string => h.deps.vault.seal('changes', provider, SECRET).id;
  assert.deepEqual(await trail('provider_key.changed'), [
    { provider: 'anthropic', change: 'set', key_id: id('anthropic') },
    { provider: 'openai', change: 'set', key_id: id('openai') },
    { provider: 'anthropic', change: 'removed', key_id: id('anthropic') },
    { provider: 'openai', change: 'removed', key_id: id('openai') },
  ]);
});

test('the key is nowhere in clear: not stored, not logged, not answered', async () => {
  await setKey('openai');
  await ok('POST', '/v1/providers/openai/ping');
  const response = await h.call('GET', '/v1/providers');
  const stored = await allStored();
  assert.ok(stored.includes('test.') && stored.includes('keyId'), 'its sealed form, and the ping');
  const places = [stored, h.logs.join(''), await response.text()];
  for (const form of [SECRET, Buffer.from(SECRET).toString('base64').slice(0, 20), sha256Hex(SECRET)])
    for (const text of places) assert.ok(!text.includes(form), form);
});

test('a ping is one free request with the key that is used now', async () => {
  const key = await h.key('pinger', ['admin']);
  const before = fake.pings.length;
  const ofEnv = await ok('POST', '/v1/providers/anthropic/ping', { key });
  assert.equal(ofEnv.last_ping?.ok, true);
  await setKey('anthropic', SECRET, { key });
  assert.equal((await listed('anthropic', { key }))?.last_ping, null, 'it was of another key');
  refused = sha256Hex(SECRET);
  const { last_ping: last } = await ok('POST', '/v1/providers/anthropic/ping', { key });
  assert.equal(last?.ok, false);
  assert.match(last.error ?? '', /refused our API key \(HTTP 401\)/);
  assert.ok(last.ms >= 0 && Date.parse(last.at) <= Date.now());
  assert.deepEqual((await listed('anthropic', { key }))?.last_ping, last);
  assert.deepEqual(
    fake.pings.slice(before).map((ping) => ping.key),
    [sha256Hex(ENV), sha256Hex(SECRET)],
  );
  assert.deepEqual(fake.ledger, [], 'nothing is billed');
  const pinged = (await trail('provider_key.pinged')).slice(-2) as { source: string }[];
  assert.deepEqual(
    pinged.map(({ source }) => source),
    ['env', 'vault'],
  );
});

test('a ping of a provider without a key says so; the mock needs none', async () => {
  const { key, last_ping: last } = await ok('POST', '/v1/providers/groq/ping');
  assert.deepEqual([key, last?.ok], ['none', false]);
  assert.match(last?.error ?? '', /PUT \/v1\/providers\/groq\/key/);
  assert.equal((await ok('POST', '/v1/providers/mock/ping')).last_ping?.ok, true);
});

test('what a tenant sets as a key takes no word from another tenant, nor from the trail of either', async () => {
  const [evil, victim] = [await h.key('evil', ['admin']), await h.key('victim', ['admin'])];
  const word = 'a-name-that-is-long-enough';
  for (const key of ['anthropic', 'requested', 'runs:read'])
    assert.equal((await h.call('PUT', '/v1/providers/openai/key', { key: evil, json: { key } })).status, 422);
  await setKey('openai', word, { key: evil });
  for (const [key, name] of [
    [evil, '[REDACTED]'],
    [victim, word],
  ] as const) {
    const made = await h.call('POST', '/v1/keys', { key, json: { name: word, scopes: ['runs:read'] } });
    assert.equal(made.status, 201);
    const created = (await trail('key.created')).at(-1) as { name: string; scopes: string[] };
    assert.deepEqual([created.name, created.scopes], [name, ['runs:read']]);
  }
});

test('what does not fit is refused without a word of it', async () => {
  const long = `${SECRET}${'x'.repeat(4096)}`;
  const bodies = [
    JSON.stringify({ key: KEY }),
    JSON.stringify({ key: long }),
    JSON.stringify({ key: SECRET.slice(0, 19) }),
    JSON.stringify({ key: `${SECRET}\n` }),
    JSON.stringify({ key: [SECRET] }),
    JSON.stringify({ [SECRET]: 'key' }),
    JSON.stringify({ key: SECRET, [SECRET]: 1 }),
    JSON.stringify(SECRET),
    SECRET,
  ];
  for (const body of bodies) {
    const headers = { 'content-type': 'application/json' };
    const response = await h.call('PUT', '/v1/providers/mistral/key', { body, headers });
    const text = await response.text();
    assert.ok(response.status === 422 || response.status === 400, text);
    for (const part of [SECRET, KEY, 'plain']) assert.ok(!text.includes(part), text);
    assert.ok(!h.logs.join('').includes(SECRET));
  }
  assert.equal((await listed('mistral'))?.key, 'none');
  const json = { key: SECRET };
  assert.equal((await h.call('PUT', '/v1/providers/mock/key', { json })).status, 422);
  assert.equal((await h.call('PUT', '/v1/providers/nobody/key', { json })).status, 404);
  assert.equal((await h.call('POST', '/v1/providers/nobody/ping')).status, 404);
});

test('a key that no key of the keyring opens stays in use: its calls fail, nobody else pays them', async () => {
  const admin = await h.key('locked-out', ['admin']);
  await setKey('anthropic', SECRET, { key: admin });
  const { partition } = h.deps;
  const vault = createKeyVault({
    keyring: createKeyring([{ id: 'other', key: newDataKey() }]),
    clock: systemClock,
    secrets: new HeldSecrets([]),
    keys: { anthropic: ENV },
    find: (tenantId) => findProviderKeys(partition, tenantId),
  });
  const app = createApp({ ...h.deps, vault });
  const before = fake.pings.length;
  const headers = { authorization: `Bearer ${admin}` };
  const answer = await app.fetch(
    new Request('http://api/v1/providers/anthropic/ping', { method: 'POST', headers }),
  );
  const { key, last_ping: last } = (await answer.json()) as Provider;
  assert.deepEqual([key, last?.ok, fake.pings.length], ['vault', false, before]);
  assert.match(last?.error ?? '', /ENCRYPTION_KEYS/);
});

test('of two that change a key at once, the one that Postgres has last is used', async () => {
  const admin = await h.key('racers', ['admin']);
  const secrets = Array.from({ length: 6 }, (_, n) => `race-key-of-racers-number-${n}`);
  await Promise.all(secrets.map((secret) => setKey('openai', secret, { key: admin })));
  const [stored] = (await listProviderKeys(h.db)).filter(({ tenantId }) => tenantId === 'racers');
  const used = (await h.deps.vault.keysOf('racers')).get('openai');
  assert.equal(used?.id, stored?.keyId);
  assert.ok(secrets.includes(used?.secret ?? ''));
});

test('what cannot be written down is not done', async () => {
  const { partition } = h.deps;
  const admin = await h.key('no-trail', ['admin']);
  const evalsha = Reflect.get(partition.redis, 'evalsha') as (...args: unknown[]) => unknown;
  const refusing = (...args: unknown[]): unknown =>
    args.some((arg) => /provider_key\./.test(String(arg)))
      ? Promise.reject(new Error('READONLY'))
      : Reflect.apply(evalsha, partition.redis, args);
  const redis = Object.create(partition.redis, { evalsha: { value: refusing } }) as typeof partition.redis;
  const app = createApp({ ...h.deps, partition: { ...partition, redis } });
  const headers = { authorization: `Bearer ${admin}`, 'content-type': 'application/json' };
  const send = async (method: string, path: string, body?: string): Promise<number> =>
    (await app.fetch(new Request(`http://api${path}`, { method, headers, ...(body ? { body } : {}) })))
      .status;
  const before = fake.pings.length;
  assert.equal(await send('PUT', '/v1/providers/openai/key', JSON.stringify({ key: SECRET })), 503);
  assert.equal(await send('POST', '/v1/providers/anthropic/ping'), 503);
  assert.deepEqual([fake.pings.length, (await listed('openai', { key: admin }))?.key], [before, 'none']);
  await setKey('openai', SECRET, { key: admin });
  assert.equal(await send('DELETE', '/v1/providers/openai/key'), 503);
  assert.equal((await listed('openai', { key: admin }))?.key, 'vault');
});

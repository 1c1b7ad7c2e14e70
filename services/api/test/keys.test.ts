import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import type { ApiScope } from '@signalbox/contracts';
import { sha256Hex } from '@signalbox/runtime';
import { createApp } from '../src/http/app.ts';
import { type Harness, openHarness } from './harness.ts';

interface Key {
  readonly id: string;
  readonly name: string;
  readonly scopes: ApiScope[];
  readonly expires_at: string | null;
  readonly revoked_at: string | null;
  readonly secret: string;
}

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

const make = async (json: object, key?: string): Promise<Key> => {
  const options = key === undefined ? { json } : { json, key };
  const response = await h.call('POST', '/v1/keys', options);
  assert.equal(response.status, 201, await response.clone().text());
  assert.equal(response.headers.get('cache-control'), 'no-store');
  return (await response.json()) as Key;
};
const codeOf = async (response: Response): Promise<[number, string]> => [
  response.status,
  ((await response.json()) as { code: string }).code,
];
const statusWith = async (key: string): Promise<number> =>
  (await h.call('GET', '/v1/agents', { key })).status;

test('a key works at once, and its secret is shown once and kept nowhere', async () => {
  const made = await make({ name: 'reader', scopes: ['runs:read'] });
  assert.match(made.secret, /^sbk_[\w-]{43}$/);
  assert.deepEqual(
    [made.name, made.scopes, made.expires_at, made.revoked_at],
    ['reader', ['runs:read'], null, null],
  );
  assert.equal(await statusWith(made.secret), 200);
  const listed = await (await h.call('GET', '/v1/keys?limit=100')).text();
  assert.ok(listed.includes(made.id));
  const hash = sha256Hex(made.secret);
  for (const secret of [made.secret, hash]) assert.ok(!listed.includes(secret));
  assert.ok(!h.logs.join('').includes(made.secret));
  const { redis, root } = h.deps.partition;
  const stream = JSON.stringify(await redis.xrange(`${root}:audit`, '-', '+'));
  assert.ok(stream.includes(made.id) && !stream.includes(made.secret) && !stream.includes(hash));
});

test('a name that holds a secret or a person is kept without them (R13)', async () => {
  const value = `sk-ant-api03-${'k'.repeat(40)}`;
  const { name } = await make({ name: `for ada@example.com ${value}`, scopes: ['runs:read'] });
  assert.match(name, /^for \[EMAIL:[0-9a-f]{8}\] \[REDACTED\]$/);
  assert.ok(!(await (await h.call('GET', '/v1/keys?limit=100')).text()).includes(value));
});

test('lists go page by page, without the keys of others', async () => {
  const foreign = await h.key('another', ['admin']);
  for (let n = 0; n < 3; n += 1) await make({ name: `page ${n}`, scopes: ['runs:read'] });
  const ids: string[] = [];
  for (let cursor: string | null = ''; cursor !== null; ) {
    const response = await h.call('GET', `/v1/keys?limit=2${cursor === '' ? '' : `&cursor=${cursor}`}`);
    const page = (await response.json()) as { data: Key[]; next_cursor: string | null };
    ids.push(...page.data.map(({ id }) => id));
    cursor = page.next_cursor;
  }
  const stored = await h.db.selectFrom('api_keys').select('id').where('tenant_id', '=', 'default').execute();
  assert.deepEqual(ids, stored.map(({ id }) => id).toSorted());
  const others = (await (await h.call('GET', '/v1/keys', { key: foreign })).json()) as { data: Key[] };
  assert.equal(others.data.length, 1);
});

test('a revoked key opens nothing from then on, at every process, whatever writes the mirror again', async () => {
  const second = createApp(h.deps);
  const made = await make({ name: 'leaver', scopes: ['runs:read'] });
  const response = await h.call('DELETE', `/v1/keys/${made.id}`);
  assert.equal(response.status, 200);
  const gone = (await response.json()) as Key;
  assert.ok(gone.revoked_at !== null && !Object.hasOwn(gone, 'secret'));
  assert.deepEqual(await codeOf(await h.call('GET', '/v1/agents', { key: made.secret })), [
    401,
    'unauthenticated',
  ]);
  const headers = { authorization: `Bearer ${made.secret}` };
  assert.equal((await second.fetch(new Request('http://api/v1/agents', { headers }))).status, 401);

  const again = (await (await h.call('DELETE', `/v1/keys/${made.id}`)).json()) as Key;
  assert.equal(again.revoked_at, gone.revoked_at);
});

test('who lost the answer of a revocation sends it again, and the mirror follows', async () => {
  const made = await make({ name: 'half', scopes: ['runs:read'] });
  await h.db.updateTable('api_keys').set({ revoked_at: new Date() }).where('id', '=', made.id).execute();
  assert.equal(await statusWith(made.secret), 200, 'Postgres alone was told');
  assert.equal((await h.call('DELETE', `/v1/keys/${made.id}`)).status, 200);
  assert.equal(await statusWith(made.secret), 401);
});

test('the expiry of a key is judged at each request', async () => {
  let ahead = 0;
  const clock = { ...h.deps.clock, now: () => Date.now() + ahead };
  const later = createApp({ ...h.deps, clock });
  const made = await make({
    name: 'short',
    scopes: ['runs:read'],
    expires_at: new Date(Date.now() + 3_600_000).toISOString(),
  });
  const ask = async (): Promise<number> => {
    const headers = { authorization: `Bearer ${made.secret}` };
    return (await later.fetch(new Request('http://api/v1/agents', { headers }))).status;
  };
  assert.equal(await ask(), 200);
  ahead = 3_600_001;
  assert.equal(await ask(), 401);
});

test('the last admin key stays, also when two revoke each other at once', async () => {
  const first = await h.key('pair', ['admin']);
  const own = ((await (await h.call('GET', '/v1/keys', { key: first })).json()) as { data: Key[] }).data[0];
  assert.ok(own !== undefined);
  const expiring = { name: 'gone', scopes: ['admin'], expires_at: new Date(Date.now() + 1000).toISOString() };
  const expired = await make(expiring, first);
  while (await h.call('GET', '/v1/agents', { key: expired.secret }).then(({ status }) => status === 200));
  const refused = await h.call('DELETE', `/v1/keys/${own.id}`, { key: first });
  assert.deepEqual(await codeOf(refused), [409, 'last_admin_key']);
  assert.equal((await h.call('GET', '/v1/keys', { key: first })).status, 200);

  const second = await make({ name: 'second', scopes: ['admin'] }, first);
  const answers = await Promise.all([
    h.call('DELETE', `/v1/keys/${own.id}`, { key: second.secret }),
    h.call('DELETE', `/v1/keys/${second.id}`, { key: first }),
  ]);
  const [won, lost] = answers.map(({ status }) => status).toSorted((a, b) => a - b);
  assert.equal(won, 200);
  assert.ok(lost === 409 || lost === 401, String(lost));
  const admins = await h.db
    .selectFrom('api_keys')
    .select('id')
    .where('tenant_id', '=', 'pair')
    .where('revoked_at', 'is', null)
    .where('expires_at', 'is', null)
    .execute();
  assert.equal(admins.length, 1);
});

test("another tenant's key is not there", async () => {
  const other = await h.key('stranger', ['admin']);
  const made = await make({ name: 'mine', scopes: ['runs:read'] });
  const response = await h.call('DELETE', `/v1/keys/${made.id}`, { key: other });
  assert.deepEqual(await codeOf(response), [404, 'not_found']);
  assert.equal(await statusWith(made.secret), 200);
});

test('bad requests are refused with what is wrong', async () => {
  const good = { name: 'x', scopes: ['runs:read'] };
  for (const [body, path] of [
    [{ ...good, scopes: [] }, 'scopes'],
    [{ ...good, scopes: ['runs:read', 'runs:read'] }, 'scopes'],
    [{ ...good, scopes: ['root'] }, 'scopes.0'],
    [{ ...good, name: '' }, 'name'],
    [{ ...good, tenant_id: 'another' }, 'tenant_id'],
    [{ ...good, expires_at: '2020-01-01T00:00:00Z' }, 'expires_at'],
    [{ ...good, expires_at: '9999-12-31T23:59:59-23:59' }, 'expires_at'],
  ] as const) {
    const response = await h.call('POST', '/v1/keys', { json: body });
    assert.equal(response.status, 422, path);
    const { errors } = (await response.json()) as { errors: { path: string }[] };
    assert.equal(errors[0]?.path, path);
  }
  assert.equal((await h.call('DELETE', '/v1/keys/key_1')).status, 404);
});

test('what cannot be written down is not done', async () => {
  const made = await make({ name: 'stays', scopes: ['runs:read'] });
  const { partition } = h.deps;
  const bound = (name: string | symbol) => {
    const method: unknown = Reflect.get(partition.redis, name);
    if (typeof method !== 'function') throw new Error(`no method ${String(name)}`);
    return method.bind(partition.redis) as (...args: unknown[]) => unknown;
  };
  /** An api whose Redis takes everything but events of these types. */
  const without = (types: RegExp) => {
    const refusing = (...args: unknown[]): unknown =>
      args.some((arg) => types.test(String(arg)))
        ? Promise.reject(new Error('READONLY'))
        : Reflect.apply(bound('evalsha'), undefined, args);
    const redis = new Proxy(partition.redis, {
      get: (target, name) => {
        if (name === 'evalsha') return refusing;
        const value: unknown = Reflect.get(target, name, target);
        return typeof value === 'function' ? bound(name) : value;
      },
    });
    const app = createApp({ ...h.deps, partition: { ...partition, redis } });
    const headers = { authorization: 'Bearer test-admin-key', 'content-type': 'application/json' };
    return async (method: string, path: string, json?: object): Promise<Response> => {
      const body = json === undefined ? {} : { body: JSON.stringify(json) };
      return app.fetch(new Request(`http://api${path}`, { method, headers, ...body }));
    };
  };
  const count = async (): Promise<number> =>
    (await h.db.selectFrom('api_keys').select('id').execute()).length;
  const before = await count();
  const unused = without(/"type":"key\.used"/);
  assert.deepEqual(await codeOf(await unused('GET', '/v1/agents')), [503, 'state_unavailable']);
  const call = without(/"type":"(key\.created|key\.revoked|caps\.changed|agent\.changed)"/);
  for (const response of [
    await call('POST', '/v1/keys', { name: 'never', scopes: ['runs:read'] }),
    await call('DELETE', `/v1/keys/${made.id}`),
    await call('PUT', '/v1/caps/tenant', { daily_usd: 1 }),
    await call('PUT', '/v1/agents/never', { model: 'mock/echo' }),
  ]) {
    assert.deepEqual(await codeOf(response), [503, 'state_unavailable']);
  }
  assert.equal(await count(), before);
  assert.equal(await statusWith(made.secret), 200);
  assert.equal((await h.call('GET', '/v1/agents/never')).status, 404);
});

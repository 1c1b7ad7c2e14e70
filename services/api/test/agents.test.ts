import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { AgentSpec, type Run } from '@signalbox/contracts';
import { MIRRORED_VERSIONS } from '@signalbox/run-state';
import { createKeyring, newDataKey } from '@signalbox/runtime';
import { openSpec, sealSpec } from '../src/agents/agent-specs.ts';
import { type Harness, openHarness } from './harness.ts';

interface Agent {
  name: string;
  version: number;
  created_at: string;
  spec: { instructions: string; model: string };
}

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

const put = async (
  name: string,
  instructions: string,
  key?: string,
): Promise<{ status: number; agent: Agent }> => {
  const json = { model: 'mock/echo', instructions };
  const response = await h.call('PUT', `/v1/agents/${name}`, key === undefined ? { json } : { json, key });
  return { status: response.status, agent: (await response.json()) as Agent };
};

const get = async <T>(path: string, key?: string): Promise<T> =>
  (await (await h.call('GET', path, key === undefined ? {} : { key })).json()) as T;

test('each new content is a new version, the same content the same version', async () => {
  const first = await put('support', 'one');
  assert.deepEqual([first.status, first.agent.version], [201, 1]);
  const second = await put('support', 'two');
  assert.deepEqual([second.status, second.agent.version], [201, 2]);
  const again = await put('support', 'one');
  assert.deepEqual(
    [again.status, again.agent.version, again.agent.created_at],
    [200, 1, first.agent.created_at],
  );
  assert.equal((await get<Agent>('/v1/agents/support')).version, 2);
  assert.equal((await get<Agent>('/v1/agents/support?version=1')).spec.instructions, 'one');
  assert.equal((await h.call('GET', '/v1/agents/support?version=3')).status, 404);
});

test('publishing at once gives each content its own version', async () => {
  const published = await Promise.all(['a', 'b', 'c', 'a', 'b', 'c'].map((text) => put('busy', text)));
  assert.deepEqual(new Set(published.map(({ agent }) => agent.version)), new Set([1, 2, 3]));
  assert.equal(published.filter(({ status }) => status === 201).length, 3);
});

test('a run takes the version it names, else the latest', async () => {
  await put('pinned', 'one');
  await put('pinned', 'two');
  const latest = await h.submit({ agent: 'pinned' });
  assert.deepEqual(latest.agent, { name: 'pinned', version: 2 });
  const named = await h.submit({ agent: 'pinned@1' });
  assert.deepEqual(named.agent, { name: 'pinned', version: 1 });
  assert.equal((await h.call('POST', '/v1/runs', { json: { agent: 'pinned@3', input: 'x' } })).status, 422);
});

test('a mirror that lost its agents is filled from Postgres, the latest first', async () => {
  await put('lost', 'one');
  await put('lost', 'two');
  const { redis, root } = h.deps.partition;
  await redis.del(`${root}:agent:default:lost`);
  assert.equal((await h.submit({ agent: 'lost@1' })).agent.version, 1);
  assert.equal(
    (await h.submit({ agent: 'lost' })).agent.version,
    2,
    'version 1 does not pass for the latest',
  );
});

test('a version too old for the mirror is read from Postgres, and does not go back to the mirror', async () => {
  for (let n = 1; n <= MIRRORED_VERSIONS + 2; n += 1) await put('many', `version ${n}`);
  const { redis, root } = h.deps.partition;
  const mirrored = async () => (await redis.hkeys(`${root}:agent:default:many`)).map(Number);
  const newest = Array.from({ length: MIRRORED_VERSIONS }, (_, i) => i + 3);
  assert.deepEqual(
    (await mirrored()).toSorted((a, b) => a - b),
    newest,
  );
  assert.equal((await h.submit({ agent: 'many@1' })).agent.version, 1);
  assert.equal((await put('many', 'version 2')).agent.version, 2, 'what it was is published again');
  assert.equal((await h.submit({ agent: 'many' })).agent.version, MIRRORED_VERSIONS + 2);
  assert.deepEqual(
    (await mirrored()).toSorted((a, b) => a - b),
    newest,
  );
});

test('a mirrored agent is enough to submit while Postgres is away', async () => {
  await put('hot', 'one');
  const { createPool } = await import('@signalbox/audit-store');
  const away = createPool({ databaseUrl: 'postgres://nobody@127.0.0.1:1/none', role: 'api' });
  const { createApp } = await import('../src/http/app.ts');
  const app = createApp({ ...h.deps, db: away });
  const call = (method: string, path: string, json?: object): Promise<Response> =>
    Promise.resolve(
      app.request(path, {
        method,
        headers: { authorization: 'Bearer test-admin-key' },
        ...(json === undefined ? {} : { body: JSON.stringify(json) }),
      }),
    );
  const submitted = await call('POST', '/v1/runs', { agent: 'hot', input: 'x' });
  assert.equal(submitted.status, 202);
  const { id } = (await submitted.json()) as Run;
  assert.equal((await call('GET', `/v1/runs/${id}`)).status, 200);
  for (const [method, path, json] of [
    ['PUT', '/v1/agents/hot', { model: 'mock/echo' }],
    ['GET', '/v1/agents/hot', undefined],
    ['GET', '/v1/agents', undefined],
    ['POST', '/v1/runs', { agent: 'cold', input: 'x' }],
  ] as const) {
    const response = await call(method, path, json);
    const problem = (await response.json()) as { code: string; detail: string };
    assert.deepEqual([response.status, problem.code], [503, 'audit_store_unavailable'], path);
    assert.ok(!problem.detail.includes('127.0.0.1'));
    assert.ok(Number(response.headers.get('retry-after')) >= 1);
  }
  await away.destroy();
});

test('tenants do not see each other, and lists go on with their cursor', async () => {
  const key = await h.key('lister', ['admin']);
  for (const name of ['c', 'a', 'b']) await put(name, name, key);
  const first = await get<{ data: Agent[]; next_cursor: string }>('/v1/agents?limit=2', key);
  assert.deepEqual(
    first.data.map(({ name }) => name),
    ['a', 'b'],
  );
  const rest = await get<{ data: Agent[]; next_cursor: null }>(
    `/v1/agents?limit=2&cursor=${first.next_cursor}`,
    key,
  );
  assert.deepEqual([rest.data.map(({ name }) => name), rest.next_cursor], [['c'], null]);
  assert.equal((await h.call('GET', '/v1/agents/a')).status, 404);
  assert.equal((await h.call('POST', '/v1/runs', { json: { agent: 'a', input: 'x' } })).status, 422);
});

test('a page of large agents ends early, and the next ones have the rest', async () => {
  const key = await h.key('large', ['admin']);
  const output_schema = { description: 'x'.repeat(900_000) };
  const names = Array.from({ length: 12 }, (_, i) => `large-${String(i).padStart(2, '0')}`);
  for (const name of names) {
    const { status } = await h.call('PUT', `/v1/agents/${name}`, {
      json: { model: 'mock/echo', output_schema },
      key,
    });
    assert.equal(status, 201);
  }
  const first = await get<{ data: Agent[]; next_cursor: string }>('/v1/agents?limit=100', key);
  assert.ok(first.data.length > 4, 'as many as fit');
  assert.ok(first.data.length < names.length, String(first.data.length));
  const rest = await get<{ data: Agent[]; next_cursor: null }>(
    `/v1/agents?limit=100&cursor=${first.next_cursor}`,
    key,
  );
  assert.deepEqual([[...first.data, ...rest.data].map(({ name }) => name), rest.next_cursor], [names, null]);
});

test('a spec lies sealed in Redis and Postgres', async () => {
  await put('sealed', 'the-secret-instructions');
  const { redis, root } = h.deps.partition;
  const stored = await h.db.selectFrom('agent_versions').selectAll().where('name', '=', 'sealed').execute();
  const mirrored = await redis.hgetall(`${root}:agent:default:sealed`);
  assert.equal(stored.length, 1);
  assert.ok(!JSON.stringify([stored, mirrored]).includes('the-secret-instructions'));
});

test('a name that is none is refused before anything is written', async () => {
  const response = await h.call('PUT', '/v1/agents/Not%20A%20Name', { json: { model: 'mock/echo' } });
  assert.equal(response.status, 422);
});

test('an agent beyond the quota is refused, in no store and no trail', async () => {
  const key = await h.key('crowd', ['admin']);
  await put('first', 'one', key);
  const others = Array.from({ length: 999 }, (_, i) => ({ tenant_id: 'crowd', name: `filler-${i}` }));
  await h.db.insertInto('agents').values(others).execute();
  const { redis, root } = h.deps.partition;
  const trail = await redis.xlen(`${root}:audit`);
  const response = await h.call('PUT', '/v1/agents/more', { json: { model: 'mock/echo' }, key });
  const problem = (await response.json()) as { code: string; detail: string };
  assert.deepEqual([response.status, problem.code], [422, 'quota_exceeded']);
  assert.match(problem.detail, /1000 agents/);
  assert.deepEqual(
    [await redis.exists(`${root}:agent:crowd:more`), await redis.xlen(`${root}:audit`)],
    [0, trail],
  );
  assert.equal((await put('first', 'two', key)).agent.version, 2);
});

test('a spec that was opened once opens for its own agent alone', () => {
  const { keyring } = h.deps;
  const [own, other] = ['a', 'b'].map((name) => ({ tenantId: 'acme', name }));
  assert.ok(own !== undefined && other !== undefined);
  const spec = AgentSpec.parse({ model: 'mock/echo' });
  const sealed = sealSpec(keyring, own, spec);
  assert.deepEqual(openSpec(keyring, own, sealed), spec);
  assert.deepEqual(openSpec(keyring, own, sealed), spec);
  const missing = { code: 'encryption_key_missing' };
  assert.throws(() => openSpec(keyring, other, sealed), missing);
  const stranger = createKeyring([{ id: 'other', key: newDataKey() }]);
  assert.throws(() => openSpec(stranger, own, sealed), missing);
});

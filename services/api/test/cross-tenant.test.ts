/**
 * Every route against every missing scope and every id of another tenant. The routes come from the OpenAPI document:
 * one that is not listed here fails.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { API_SCOPES, newId } from '@signalbox/contracts';
import { SCOPES } from '../src/http/scopes.ts';
import { coolDown, storeAll } from './audit.ts';
import { type Harness, openHarness } from './harness.ts';
import { finish } from './run-writer.ts';

const OPEN = ['GET /healthz', 'GET /readyz', 'GET /metrics'];
const OWNER = 'owner-tenant';

/** What a body must be for the route to look at its ids at all. */
const BODIES: Readonly<Record<string, object>> = {
  'POST /v1/runs/:id/fork': { from_step: 1, changes: {} },
  'POST /v1/runs/:id/abort': {},
  'PUT /v1/runs/:id/legal-hold': { held: true },
};

/** What the ids of these paths name. */
const RUN = '/v1/runs/:id';
const AGENT = '/v1/agents/:name';
const KEY = '/v1/keys/:id';
const REPLAY = '/v1/replays/:id';
const USER = '/v1/caps/users/:user_id';
const PROVIDER = '/v1/providers/:provider';
type Kind = 'hot run' | 'stored run' | 'agent' | 'key' | 'replay';
const kindsOf = (path: string): readonly Kind[] => {
  if (path === RUN || path.startsWith(`${RUN}/`)) return ['hot run', 'stored run'];
  if (path === AGENT) return ['agent'];
  if (path === KEY) return ['key'];
  if (path === REPLAY || path.startsWith(`${REPLAY}/`)) return ['replay'];
  throw new Error(`${path} is not listed: say what its id names`);
};
const UNKNOWN: Readonly<Record<Kind, string>> = {
  'hot run': newId('run'),
  'stored run': newId('run'),
  agent: 'never-there',
  key: `key_${'0'.repeat(32)}`,
  replay: newId('rpl'),
};

/** A name is everybody's to take, and a user has no existence of its own: these answer with what is the asker's. */
const OWN_NAMESPACE = [
  'PUT /v1/agents/:name',
  `GET ${USER}`,
  `PUT ${USER}`,
  `DELETE ${USER}`,
  `PUT ${PROVIDER}/key`,
  `DELETE ${PROVIDER}/key`,
  `POST ${PROVIDER}/ping`,
];
const PROVIDER_KEY = 'openai-key-of-the-owner';
const OWN_NAMES = [
  { under: AGENT, name: '$agent', body: { model: 'mock/echo' } },
  { under: USER, name: '$user', body: { daily_usd: 3 } },
  { under: PROVIDER, name: 'openai', body: { key: 'openai-key-of-the-stranger' } },
];

/** Without ids in the path: asked for things of the owner in every way there is, each with what asks it in vain. */
const LISTS: Readonly<Record<string, readonly string[]>> = {
  'GET /v1/runs': ['', '?user_id=$user', '?agent=$agent', '?session_id=$session'],
  'GET /v1/agents': [''],
  'GET /v1/keys': [''],
  'GET /v1/providers': [''],
  'GET /v1/caps/tenant': [''],
  'GET /v1/retention': [''],
  'GET /v1/costs': ['', '?group_by=day,user_id,agent,model'],
  'GET /v1/audit': [
    '',
    '?run_id=$run',
    '?run_id=$chain',
    '?actor=$key',
    '?category=admin',
    '?type=key.created',
  ],
  'GET /v1/audit/export': ['', '?run_id=$run', '?run_id=$chain'],
  // Demand on all workers, for their autoscaler: numbers of the whole deployment, no ids.
  'GET /v1/autoscale': [''],
};

/** These make or change only what is the asker's; none takes an id of something that is there already. */
const WRITES: Readonly<Record<string, object | null>> = {
  'POST /v1/runs': { agent: '$agent', input: 'x' },
  'POST /v1/runs/batch': { runs: [{ agent: '$agent', input: 'x' }] },
  'POST /v1/replays': { filter: { user_id: '$user', agent: '$agent' } },
  'POST /v1/runs/abort': { filter: { user_id: '$user' } },
  'POST /v1/audit/verify': { run_id: '$run' },
  'PUT /v1/caps/tenant': null,
  'PUT /v1/legal-hold': null,
  'PUT /v1/retention': null,
  'POST /v1/keys': null,
};

let h: Harness;
let routes: string[];
let marks: Record<string, string>;
let ids: Record<Kind, string>;
let stranger: string;

before(async () => {
  h = await openHarness();
  const document = (await (await h.call('GET', '/openapi.json', { key: null })).json()) as {
    paths: Record<string, object>;
  };
  routes = Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`),
  );
  const key = await h.key(OWNER, ['admin']);
  const names = { agent: 'owner-agent', user: 'owner-user', session: 'owner-session' };
  const spec = { model: 'mock/echo', instructions: 'owner-instructions' };
  assert.equal((await h.call('PUT', `/v1/agents/${names.agent}`, { key, json: spec })).status, 201);
  const ownKey = { key: PROVIDER_KEY };
  assert.equal((await h.call('PUT', '/v1/providers/openai/key', { key, json: ownKey })).status, 200);
  const body = { agent: names.agent, user_id: names.user, session_id: names.session, input: 'owner-input' };
  const [hot, cold] = [await h.submit(body, { key }), await h.submit(body, { key })];
  await finish(h, cold.id);
  await storeAll(h);
  await coolDown(h, cold.id);
  const listed = (await (await h.call('GET', '/v1/keys', { key })).json()) as { data: { id: string }[] };
  const keyId = listed.data[0]?.id ?? assert.fail('no key');
  const json = { filter: { user_id: names.user } };
  const started = await h.call('POST', '/v1/replays', { key, json });
  const replay = ((await started.json()) as { id: string }).id;
  stranger = await h.key('stranger-tenant', ['admin']);
  ids = { 'hot run': hot.id, 'stored run': cold.id, agent: names.agent, key: keyId, replay };
  marks = { ...names, replay, run: cold.id, hot: hot.id, chain: `admin_${OWNER}`, key: keyId };
});
after(() => h.close());

const ask = (route: string, path: string, key: string, json?: object): Promise<Response> => {
  const [method = ''] = route.split(' ');
  return h.call(method, path, json === undefined ? { key } : { key, json });
};
const pathOf = (route: string, id = 'x'): string =>
  (route.split(' ')[1] ?? '').replace(/:\w+/, encodeURIComponent(id));
const fill = (text: string): string => text.replaceAll(/\$(\w+)/g, (_, name: string) => marks[name] ?? '');

/** Everything of an answer that its asker sees, but what differs from request to request. */
const seen = async (response: Response): Promise<string> => {
  const headers = [...response.headers].filter(([name]) => !['x-request-id', 'date'].includes(name));
  return JSON.stringify([response.status, headers, await response.text()]);
};
/** But what the asker said itself. */
const assertNothingOf = (text: string, what: string, said = ''): void => {
  const secrets = [...Object.values(marks), OWNER, 'owner-input', 'owner-instructions', PROVIDER_KEY];
  for (const secret of secrets) {
    if (!said.includes(secret)) assert.ok(!text.includes(secret), `${what} tells ${secret}: ${text}`);
  }
};

test('every route is listed, and has its scope', () => {
  const withIds = routes.filter((route) => route.includes(':') && !OWN_NAMESPACE.includes(route));
  for (const route of withIds) kindsOf(route.split(' ')[1] ?? '');
  const known = [...OPEN, ...OWN_NAMESPACE, ...Object.keys(LISTS), ...Object.keys(WRITES), ...withIds];
  assert.deepEqual(new Set(known), new Set(routes));
  assert.deepEqual(new Set([...Object.keys(SCOPES), ...OPEN]), new Set(routes));
});

test('a key that holds all scopes but one that a route needs is refused there, before anything is looked at', async () => {
  for (const [route, needed] of Object.entries(SCOPES)) {
    for (const scope of [needed].flat()) {
      const key = await h.key(
        'scoped',
        API_SCOPES.filter((other) => other !== scope && other !== 'admin'),
      );
      const response = await ask(route, pathOf(route), key);
      assert.equal(response.status, 403, `${route} without ${scope}`);
      const problem = (await response.json()) as { code: string };
      assert.equal(problem.code, 'forbidden');
    }
  }
});

test('no route answers without a key', async () => {
  for (const route of Object.keys(SCOPES)) {
    const [method = ''] = route.split(' ');
    assert.equal((await h.call(method, pathOf(route), { key: null })).status, 401, route);
  }
});

describe('of another tenant', () => {
  test('ids are not there: 404, with the very answer that an id gets which nobody has', async () => {
    for (const route of routes.filter((one) => one.includes(':') && !OWN_NAMESPACE.includes(one))) {
      for (const kind of kindsOf(route.split(' ')[1] ?? '')) {
        const [theirs, nobodys] = [ids[kind], UNKNOWN[kind]];
        const body = BODIES[route];
        const found = await ask(route, pathOf(route, theirs), stranger, body);
        assert.equal(found.status, 404, `${route} of a ${kind}`);
        const missing = await ask(route, pathOf(route, nobodys), stranger, body);
        const text = await seen(found);
        assert.equal(text, (await seen(missing)).replaceAll(nobodys, theirs), `${route} of a ${kind}`);
        assertNothingOf(text, route, theirs);
      }
    }
  });

  test('nothing is in any list, sum or export, whatever is asked for', async () => {
    for (const [route, queries] of Object.entries(LISTS)) {
      for (const query of queries) {
        const path = `${pathOf(route)}${fill(query)}`;
        const response = await ask(route, path, stranger);
        assert.equal(response.status, 200, path);
        // Of the asker's own audit log, the earlier questions of this test are no news.
        assertNothingOf(await seen(response), path, route.startsWith('GET /v1/audit') ? path : '');
      }
    }
  });

  test('names lead to what is the own', async () => {
    for (const route of OWN_NAMESPACE) {
      const [, path = ''] = route.split(' ');
      const { name, body } = OWN_NAMES.find(({ under }) => path.startsWith(under)) ?? assert.fail(path);
      const json = route.startsWith('PUT') ? body : undefined;
      const response = await ask(route, pathOf(route, fill(name)), stranger, json);
      assert.ok(response.ok, route);
      assertNothingOf(await seen(response), route, fill(name));
    }
    const key = await h.key(OWNER, ['runs:read']);
    const caps = await (await h.call('GET', `/v1/caps/users/${marks['user']}`, { key })).json();
    assert.equal((caps as { daily_usd: number }).daily_usd, 20);
    const providers = (await (await h.call('GET', '/v1/providers', { key })).json()) as {
      data: { provider: string; key: string; last_ping: null }[];
    };
    const openai = providers.data.find(({ provider }) => provider === 'openai');
    assert.deepEqual([openai?.key, openai?.last_ping], ['vault', null]);
    const agent = await (await h.call('GET', `/v1/agents/${marks['agent']}`, { key })).text();
    assert.ok(agent.includes('owner-instructions'));
  });

  test('nothing is run, stopped or changed', async () => {
    const other = await h.key('third-tenant', ['admin']);
    for (const [route, body] of Object.entries(WRITES)) {
      if (body === null) continue;
      const said = fill(JSON.stringify(body));
      const response = await ask(route, pathOf(route), other, JSON.parse(said) as object);
      assertNothingOf(await seen(response), route, said);
    }
    const key = await h.key(OWNER, ['runs:read']);
    const hot = (await (await h.call('GET', `/v1/runs/${marks['hot']}`, { key })).json()) as {
      status: string;
      abort: null;
    };
    assert.deepEqual([hot.status, hot.abort], ['queued', null]);
    const runs = await h.db.selectFrom('runs').select('id').where('tenant_id', '=', 'third-tenant').execute();
    assert.deepEqual(runs, []);
  });
});

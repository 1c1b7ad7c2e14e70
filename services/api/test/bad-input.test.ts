import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { newId } from '@signalbox/contracts';
import { type CallOptions, type Harness, openHarness } from './harness.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

interface Problem {
  status: number;
  code: string;
  detail: string;
  title: string;
  type: string;
  errors?: { path: string; message: string }[];
  error: { message: string; type: string; code: string; param: string | null };
}

/** How many runs and agents there are: bad input must not change it. */
const written = async (): Promise<number> => {
  const keys = await h.deps.partition.redis.keys(`${h.deps.partition.root}:*`);
  return keys.filter((key) => /:(run|agent|idem):/.test(key)).length;
};

const refused = async (
  method: string,
  path: string,
  options: CallOptions,
  expected: { status: number; code: string; path?: string },
): Promise<Problem> => {
  const before = await written();
  const response = await h.call(method, path, options);
  const problem = (await response.json()) as Problem;
  assert.equal(response.status, expected.status, JSON.stringify(problem));
  assert.equal(response.headers.get('content-type'), 'application/problem+json');
  assert.equal(problem.status, expected.status);
  assert.equal(problem.code, expected.code);
  assert.equal(problem.error.code, expected.code);
  assert.equal(problem.error.message, problem.detail);
  if (expected.path !== undefined) {
    assert.ok(
      problem.errors?.some(({ path: at }) => at === expected.path),
      JSON.stringify(problem.errors),
    );
    assert.ok(problem.error.param !== null);
  }
  assert.equal(await written(), before, 'nothing written');
  return problem;
};

const valid = { agent: { model: 'mock/echo' }, input: 'hi' };
const invalid = { status: 422, code: 'invalid_request' };

const BODIES: readonly [name: string, body: unknown, path: string][] = [
  ['unknown field', { ...valid, colour: 'red' }, 'colour'],
  ['unknown field of the agent', { ...valid, agent: { model: 'mock/echo', colour: 1 } }, 'agent.colour'],
  ['unknown field of the limits', { ...valid, limits: { max_step: 1 } }, 'limits.max_step'],
  ['no agent', { input: 'hi' }, 'agent'],
  ['no input', { agent: 'a' }, 'input'],
  ['input of the wrong type', { ...valid, input: 7 }, 'input'],
  ['empty conversation', { ...valid, input: [] }, 'input'],
  ['message of an unknown role', { ...valid, input: [{ role: 'system', content: 'x' }] }, 'input.0.role'],
  ['agent reference with blanks', { ...valid, agent: 'a b' }, 'agent'],
  ['version 0', { ...valid, agent: 'a@0' }, 'agent'],
  [
    'a tool twice',
    { ...valid, agent: { model: 'mock/echo', tools: ['wait', { name: 'wait', repeatable: true }] } },
    'agent.tools',
  ],
  ['unknown provider', { ...valid, agent: { model: 'acme/gpt' } }, 'agent.model'],
  ['limit of the wrong type', { ...valid, limits: { max_steps: '3' } }, 'limits.max_steps'],
  ['negative cost', { ...valid, limits: { cost_usd: -1 } }, 'limits.cost_usd'],
  ['cost above what can be counted', { ...valid, limits: { cost_usd: 9e6 + 1 } }, 'limits.cost_usd'],
  ['cost that would be rounded up', { ...valid, limits: { cost_usd: 1.6e-9 } }, 'limits.cost_usd'],
  ['cost that would be rounded to nothing', { ...valid, limits: { cost_usd: 4e-10 } }, 'limits.cost_usd'],
  [
    "agent's cost that would be rounded",
    { ...valid, agent: { model: 'mock/echo', limits: { cost_usd: 0.0000000001 } } },
    'agent.limits.cost_usd',
  ],
  ['unknown priority', { ...valid, priority: 'urgent' }, 'priority'],
  ['run_at without zone', { ...valid, run_at: '2026-01-01T00:00:00' }, 'run_at'],
  ['run_at beyond year 9999', { ...valid, run_at: '9999-12-31T23:59:59-23:59' }, 'run_at'],
  ['metadata that is no text', { ...valid, metadata: { a: 1 } }, 'metadata.a'],
  ['user_id too long', { ...valid, user_id: 'x'.repeat(257) }, 'user_id'],
  ['not an object', [], ''],
];

for (const [name, json, path] of BODIES) {
  test(`submit refuses: ${name}`, async () => {
    await refused('POST', '/v1/runs', { json }, { ...invalid, path });
  });
}

const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, i]));

test('of very much that does not fit the first twenty are told; of too much metadata its number alone', async () => {
  const tooMuch = { ...valid, metadata: many(50_000) };
  const { errors } = await refused('POST', '/v1/runs', { json: tooMuch }, { ...invalid, path: 'metadata' });
  assert.deepEqual(errors, [{ path: 'metadata', message: 'at most 50 keys' }]);
  for (const [json, path] of [
    [{ ...valid, ...many(50_000) }, 'k19'],
    [{ ...valid, metadata: many(50) }, 'metadata.k19'],
    [{ ...valid, agent: { model: 'mock/echo', ...many(50_000) } }, 'agent.k19'],
  ] as const) {
    const problem = await refused('POST', '/v1/runs', { json }, { ...invalid, path });
    assert.equal(problem.errors?.length, 20);
  }
});

test('a body that is no JSON is invalid_json', async () => {
  for (const body of ['{', '', 'undefined', '{"agent":}']) {
    await refused('POST', '/v1/runs', { body }, { status: 400, code: 'invalid_json' });
  }
});

test('a body nested too deep is refused, not a crash', async () => {
  const deep = `{"agent":{"model":"mock/echo","output_schema":{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}},"input":"x"}`;
  await refused('POST', '/v1/runs', { body: deep }, invalid);
});

test('a name that would be dropped without a word is refused, wherever it is and however it is spelled', async () => {
  const run = await h.submit();
  const spec = '{"model":"mock/echo","output_schema":{"properties":[{"a":1},{"__proto__":{}}]}}';
  const bodies: readonly [method: string, path: string, body: string, field: string][] = [
    ['POST', '/v1/runs', `{"agent":${spec},"input":"x"}`, 'agent.output_schema.properties.1.__proto__'],
    ['POST', '/v1/runs', '{"agent":"a","input":"x","metadata":{"__proto__":"y"}}', 'metadata.__proto__'],
    ['POST', '/v1/runs', '{"agent":"a","input":"x","\\u005f_proto__":{}}', '__proto__'],
    ['POST', '/v1/runs/batch', '{"runs":[{"__proto__":{}}]}', 'runs.0.__proto__'],
    ['PUT', '/v1/agents/named', spec, 'output_schema.properties.1.__proto__'],
    [
      'POST',
      `/v1/runs/${run.id}/fork`,
      '{"from_step":1,"changes":{"tool_output":{"__proto__":1}}}',
      'changes.tool_output.__proto__',
    ],
  ];
  for (const [method, path, body, field] of bodies) {
    await refused(method, path, { body }, { ...invalid, path: field });
  }
});

test('a body over 1 MiB is refused, with and without Content-Length', async () => {
  const json = { ...valid, metadata: { a: 'x'.repeat(1024 * 1024) } };
  const tooLarge = { status: 413, code: 'payload_too_large' };
  const length = String(JSON.stringify(json).length);
  await refused('POST', '/v1/runs', { json, headers: { 'content-length': length } }, tooLarge);
  const chunk = new TextEncoder().encode(' '.repeat(100_000));
  let sent = 0;
  const chunked = new ReadableStream<Uint8Array>({
    pull: (controller) => (sent++ < 20 ? controller.enqueue(chunk) : controller.close()),
  });
  await refused('POST', '/v1/runs', { body: chunked }, tooLarge);
});

test('an input just below the limit is taken', async () => {
  const run = await h.submit({ input: 'x'.repeat(1_000_000) });
  assert.equal(typeof run.input === 'string' ? run.input.length : 0, 1_000_000);
});

test('unknown agents, versions and models are told apart', async () => {
  await h.call('PUT', '/v1/agents/known', { json: { model: 'mock/echo' } });
  const notFound = { status: 422, code: 'agent_not_found', path: 'agent' };
  await refused('POST', '/v1/runs', { json: { ...valid, agent: 'unknown' } }, notFound);
  await refused('POST', '/v1/runs', { json: { ...valid, agent: 'known@9' } }, notFound);
  const model = async (spec: object, code: string, path: string): Promise<unknown> =>
    refused('POST', '/v1/runs', { json: { ...valid, agent: spec } }, { status: 422, code, path });
  await model({ model: 'mock/nothing' }, 'model_unknown', 'agent.model');
  await model({ model: 'openai/no-such-model-at-all' }, 'price_unknown', 'agent.model');
  await model({ model: 'oauth-gpt/anything' }, 'price_unknown', 'agent.model');
  await model({ model: 'mock/echo', fallbacks: ['mock/nothing'] }, 'model_unknown', 'agent.fallbacks.0');
  await model({ model: 'openai/gpt-4o-mini', cost_intent: 'free' }, 'invalid_request', 'agent.model');
  await refused(
    'PUT',
    '/v1/agents/bad',
    { json: { model: 'mock/nothing' } },
    {
      status: 422,
      code: 'model_unknown',
      path: 'model',
    },
  );
});

test('a run may not loosen the limits its agent states', async () => {
  const agent = { model: 'mock/echo', limits: { max_steps: 3, cost_usd: 0.5 } };
  const problem = await refused(
    'POST',
    '/v1/runs',
    { json: { ...valid, agent, limits: { max_steps: 4, cost_usd: 1 } } },
    invalid,
  );
  assert.deepEqual(
    problem.errors?.map(({ path }) => path),
    ['limits.max_steps', 'limits.cost_usd'],
  );
});

test('a missing, malformed or unknown key is unauthenticated; a known one without the scope forbidden', async () => {
  for (const headers of [
    {},
    { authorization: 'Basic eDp5' },
    { authorization: 'Bearer' },
    { authorization: 'Bearer nobody' },
  ]) {
    const response = await h.call('POST', '/v1/runs', { key: null, headers, json: valid });
    assert.equal(response.status, 401);
    assert.equal(response.headers.get('www-authenticate'), 'Bearer realm="signalbox"');
  }
  const reader = await h.key('default', ['runs:read']);
  await refused('POST', '/v1/runs', { key: reader, json: valid }, { status: 403, code: 'forbidden' });
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

const QUERIES: readonly [path: string, field: string][] = [
  ['/v1/runs?cursor=nonsense', 'cursor'],
  [`/v1/runs?cursor=${Buffer.from('run_1').toString('base64url')}`, 'cursor'],
  ['/v1/runs?limit=0', 'limit'],
  ['/v1/runs?limit=101', 'limit'],
  ['/v1/runs?limit=ten', 'limit'],
  ['/v1/runs?status=done', 'status'],
  ['/v1/runs?created_after=yesterday', 'created_after'],
  ['/v1/runs?colour=red', 'colour'],
  ['/v1/agents?cursor=%00', 'cursor'],
  ['/v1/agents/known?version=0', 'version'],
];

for (const [path, field] of QUERIES) {
  test(`a query is refused: ${path}`, async () => {
    await refused('GET', path, {}, { ...invalid, path: field });
  });
}

test('a query or a body that a route does not take is refused, and nothing is done', async () => {
  const { id } = await h.submit(valid);
  const all = { json: { filter: { all: true } } };
  await refused('POST', '/v1/runs/abort?dry_run=true', all, { ...invalid, path: 'dry_run' });
  await refused('POST', '/v1/runs/batch?dry_run=1', { json: { runs: [valid] } }, invalid);
  await refused('GET', `/v1/runs/${id}/steps?limit=1`, {}, { ...invalid, path: 'limit' });
  const body = { json: { reason: 'asked to' } };
  await refused('POST', `/v1/runs/${id}/replay`, body, { ...invalid, path: 'reason' });
  await refused('DELETE', `/v1/runs/${id}/content`, body, { ...invalid, path: 'reason' });
  assert.equal((await h.call('POST', `/v1/runs/${id}/replay`, { json: {} })).status, 200);
  const run = await h.call('GET', `/v1/runs/${id}`);
  assert.equal(((await run.json()) as { status: string }).status, 'queued');
});

test('wait, after and Last-Event-ID are checked before anything is answered', async () => {
  const { id } = await h.submit();
  await refused('GET', `/v1/runs/${id}?wait=56`, {}, { ...invalid, path: 'wait' });
  await refused('GET', `/v1/runs/${id}?wait=-1`, {}, { ...invalid, path: 'wait' });
  await refused('GET', `/v1/runs/${id}/events?after=x`, {}, { ...invalid, path: 'after' });
  for (const lastEventId of ['x', '-1', '1.5', '9'.repeat(20)]) {
    const headers = { accept: 'text/event-stream', 'last-event-id': lastEventId };
    await refused('GET', `/v1/runs/${id}/events`, { headers }, { ...invalid, path: 'Last-Event-ID' });
  }
});

test('an Idempotency-Key must be visible ASCII of at most 255 characters', async () => {
  for (const key of ['x'.repeat(256), 'a b', 'é']) {
    const headers = { 'idempotency-key': key };
    await refused('POST', '/v1/runs', { json: valid, headers }, { ...invalid, path: 'Idempotency-Key' });
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

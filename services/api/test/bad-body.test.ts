import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { gzipSync } from 'node:zlib';
import { newId } from '@signalbox/contracts';
import { type Harness, openHarness } from './harness.ts';
import { INVALID, refusedBy, VALID } from './refused.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

const refused = refusedBy(() => h);

const BODIES: readonly [name: string, body: unknown, path: string][] = [
  ['unknown field', { ...VALID, colour: 'red' }, 'colour'],
  ['unknown field of the agent', { ...VALID, agent: { model: 'mock/echo', colour: 1 } }, 'agent.colour'],
  ['unknown field of the limits', { ...VALID, limits: { max_step: 1 } }, 'limits.max_step'],
  ['no agent', { input: 'hi' }, 'agent'],
  ['no input', { agent: 'a' }, 'input'],
  ['input of the wrong type', { ...VALID, input: 7 }, 'input'],
  ['empty conversation', { ...VALID, input: [] }, 'input'],
  ['message of an unknown role', { ...VALID, input: [{ role: 'system', content: 'x' }] }, 'input.0.role'],
  ['agent reference with blanks', { ...VALID, agent: 'a b' }, 'agent'],
  ['version 0', { ...VALID, agent: 'a@0' }, 'agent'],
  [
    'a tool twice',
    { ...VALID, agent: { model: 'mock/echo', tools: ['wait', { name: 'wait', repeatable: true }] } },
    'agent.tools',
  ],
  ['unknown provider', { ...VALID, agent: { model: 'acme/gpt' } }, 'agent.model'],
  ['limit of the wrong type', { ...VALID, limits: { max_steps: '3' } }, 'limits.max_steps'],
  ['negative cost', { ...VALID, limits: { cost_usd: -1 } }, 'limits.cost_usd'],
  ['cost above what can be counted', { ...VALID, limits: { cost_usd: 9e6 + 1 } }, 'limits.cost_usd'],
  ['cost that would be rounded up', { ...VALID, limits: { cost_usd: 1.6e-9 } }, 'limits.cost_usd'],
  ['cost that would be rounded to nothing', { ...VALID, limits: { cost_usd: 4e-10 } }, 'limits.cost_usd'],
  [
    "agent's cost that would be rounded",
    { ...VALID, agent: { model: 'mock/echo', limits: { cost_usd: 0.0000000001 } } },
    'agent.limits.cost_usd',
  ],
  ['unknown priority', { ...VALID, priority: 'urgent' }, 'priority'],
  ['run_at without zone', { ...VALID, run_at: '2026-01-01T00:00:00' }, 'run_at'],
  ['run_at beyond year 9999', { ...VALID, run_at: '9999-12-31T23:59:59-23:59' }, 'run_at'],
  ['metadata that is no text', { ...VALID, metadata: { a: 1 } }, 'metadata.a'],
  ['user_id too long', { ...VALID, user_id: 'x'.repeat(257) }, 'user_id'],
  ['a user whose caps nobody can address', { ...VALID, user_id: '.' }, 'user_id'],
  ['another such', { ...VALID, user_id: '..' }, 'user_id'],
  ['not an object', [], ''],
];

for (const [name, json, path] of BODIES) {
  test(`submit refuses: ${name}`, async () => {
    await refused('POST', '/v1/runs', { json }, { ...INVALID, path });
  });
}

const TOLD: readonly [body: unknown, message: string][] = [
  [
    { ...VALID, user_id: '..' },
    'user_id: must not be . or .., which clients take out of /v1/caps/users/{user_id}',
  ],
  [{ input: 'x' }, 'agent: missing, expected string or object'],
  [{ agent: 'a' }, 'input: missing, expected string or array'],
  [{ ...VALID, agent: {} }, 'agent.model: missing, expected string'],
  [{ ...VALID, agent: null }, 'agent: expected string or object, received null'],
  [{ ...VALID, input: 7 }, 'input: expected string or array, received number'],
  [
    { ...VALID, agent: { model: 'mock/echo', tools: [{ name: 'wait', repeatable: 'yes' }] } },
    'agent.tools.0.repeatable: expected boolean, received string',
  ],
  [
    { ...VALID, agent: { model: 'mock/echo', tools: [{ name: 'wait', timeout: 1 }] } },
    'agent.tools.0.timeout: unknown field',
  ],
  [
    { ...VALID, metadata: { ['k'.repeat(65)]: 'v' } },
    `metadata.${'k'.repeat(65)}: of this name: Too big: expected string to have <=64 characters`,
  ],
];

for (const [json, message] of TOLD) {
  test(`what is wrong is told: ${message.slice(0, 60)}`, async () => {
    const { detail } = await refused('POST', '/v1/runs', { json }, INVALID);
    assert.equal(detail, message);
  });
}

test('what is of another type is told once: how long it would be as that is no matter', async () => {
  const json = { ...VALID, agent: { model: 'mock/echo', fallbacks: 'openai/gpt-4o-mini' } };
  const { errors } = await refused('POST', '/v1/runs', { json }, INVALID);
  assert.deepEqual(errors, [{ path: 'agent.fallbacks', message: 'expected array, received string' }]);
});

const many = (count: number) => Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, i]));

test('of very much that does not fit the first twenty are told; of too much metadata its number alone', async () => {
  const tooMuch = { ...VALID, metadata: many(50_000) };
  const { errors } = await refused('POST', '/v1/runs', { json: tooMuch }, { ...INVALID, path: 'metadata' });
  assert.deepEqual(errors, [{ path: 'metadata', message: 'at most 50 keys' }]);
  for (const [json, path] of [
    [{ ...VALID, ...many(50_000) }, 'k19'],
    [{ ...VALID, metadata: many(50) }, 'metadata.k19'],
    [{ ...VALID, agent: { model: 'mock/echo', ...many(50_000) } }, 'agent.k19'],
  ] as const) {
    const problem = await refused('POST', '/v1/runs', { json }, { ...INVALID, path });
    assert.equal(problem.errors?.length, 20);
  }
});

test('a body that is no JSON is invalid_json', async () => {
  for (const body of ['{', '', 'undefined', '{"agent":}']) {
    await refused('POST', '/v1/runs', { body }, { status: 400, code: 'invalid_json' });
  }
});

test('a compressed body is not read, and that is told', async () => {
  const headers = { 'content-encoding': 'gzip' };
  const body = new Blob([gzipSync(JSON.stringify(VALID))]).stream();
  const { detail } = await refused(
    'POST',
    '/v1/runs',
    { body, headers },
    { status: 400, code: 'invalid_json' },
  );
  assert.match(detail, /without Content-Encoding/);
});

test('a body that broke off with its client is no failure of ours, and submits nothing', async () => {
  const broken = (): ReadableStream<Uint8Array> =>
    new ReadableStream({
      pull: (controller) =>
        // As Node says it.
        controller.error(Object.assign(new Error('aborted'), { code: 'ECONNRESET' })),
    });
  const invalid = { status: 400, code: 'invalid_json' };
  await refused('POST', '/v1/runs', { body: broken() }, invalid);
  await refused('POST', `/v1/runs/${newId('run')}/abort`, { body: broken() }, invalid);
  assert.ok(!h.logs.join('').includes('request failed'));
});

test('a body nested too deep is refused, not a crash', async () => {
  const deep = `{"agent":{"model":"mock/echo","output_schema":{"a":${'['.repeat(200_000)}${']'.repeat(200_000)}}},"input":"x"}`;
  await refused('POST', '/v1/runs', { body: deep }, INVALID);
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
    await refused(method, path, { body }, { ...INVALID, path: field });
  }
});

test('names that would become one are refused, since one of their values would be lost without a word', async () => {
  const merged = (path: string) => ({ ...INVALID, path });
  const metadata = '{"\\ud800":"y","\\ud801":"z"}';
  const run = `{"agent":{"model":"mock/echo"},"input":"x","metadata":${metadata}}`;
  await refused('POST', '/v1/runs', { body: run }, merged('metadata.\ud801'));
  await refused('POST', '/v1/runs/batch', { body: `{"runs":[${run}]}` }, merged('runs.0.metadata.\ud801'));
  const spec = '{"model":"mock/echo","output_schema":{"properties":{"a\\u0000":{},"a\ufffd":{}}}}';
  await refused('PUT', '/v1/agents/merged', { body: spec }, merged('output_schema.properties.a\ufffd'));
  const alone = { body: run.replace('\\ud801', 'other') };
  assert.equal((await h.call('POST', '/v1/runs', alone)).status, 202);
});

test('a body over 1 MiB is refused, with and without Content-Length', async () => {
  const json = { ...VALID, metadata: { a: 'x'.repeat(1024 * 1024) } };
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
  await refused('POST', '/v1/runs', { json: { ...VALID, agent: 'unknown' } }, notFound);
  await refused('POST', '/v1/runs', { json: { ...VALID, agent: 'known@9' } }, notFound);
  const model = async (spec: object, code: string, path: string) =>
    refused('POST', '/v1/runs', { json: { ...VALID, agent: spec } }, { status: 422, code, path });
  await model({ model: 'mock/nothing' }, 'model_unknown', 'agent.model');
  await model({ model: 'openai/no-such-model-at-all' }, 'price_unknown', 'agent.model');
  const unpriced = await model({ model: 'oauth-gpt/anything' }, 'price_unknown', 'agent.model');
  assert.match(unpriced.detail, /cannot be capped: .* PRICE_OVERRIDES_FILE/);
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
    { json: { ...VALID, agent, limits: { max_steps: 4, cost_usd: 1 } } },
    INVALID,
  );
  assert.deepEqual(
    problem.errors?.map(({ path }) => path),
    ['limits.max_steps', 'limits.cost_usd'],
  );
});

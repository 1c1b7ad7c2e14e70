/** The "Bad input" of issue 2, end to end: what is refused leaves nothing behind, and no text breaks a batch. */
import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { after, test } from 'node:test';
import { mirrorApiKey, setTenantCaps } from '@signalbox/run-state';
import type { Behave } from '../support/fake-provider/index.ts';
import { type ApiClient, createClient, type RequestOptions } from './client.ts';
import { keysAndRows } from './footprint.ts';
import { settled, startSystem, taggedAgent, violations } from './stack.ts';

/** Says nothing until it is told that nothing is no answer. */
const shy: Behave = ({ instructions, messages }) =>
  instructions.includes('#tag shy') && messages.length === 1 ? { text: '' } : undefined;

const system = await startSystem({ workers: 1, provider: { behave: shy } });
after(() => system.stop());
const { api } = system;

/** A key of another tenant, as the keys API will write it. */
const otherTenant = async (
  tenantId: string,
  scopes: readonly ('runs:read' | 'admin')[],
): Promise<ApiClient> => {
  const secret = `sb_test_${tenantId}_${scopes.join('_')}`;
  const hash = createHash('sha256').update(secret).digest('hex');
  await mirrorApiKey(system.partition, hash, {
    keyId: `key_${tenantId}`,
    tenantId,
    scopes: [...scopes],
    expiresAt: null,
  });
  const caps = { runNano: null, userDailyNano: null, tenantDailyNano: null, timeZone: 'UTC' };
  await setTenantCaps(system.partition, tenantId, caps);
  return createClient(api.url, secret);
};

const ECHO = { model: 'mock/echo' };
const GOOD = { agent: ECHO, input: 'hi' };
const post = (body: object | string): RequestOptions => ({ body });
const nested = `${'['.repeat(5000)}${']'.repeat(5000)}`;

const own = await api.submit(GOOD, { 'idempotency-key': 'taken' });
await settled(system, [own.id]);
const stranger = await otherTenant('stranger', ['admin']);
const reader = await otherTenant('default', ['runs:read']);
const nobody = createClient(api.url, '');
const forger = createClient(api.url, `${api.key}x`);
const stream = { headers: { accept: 'text/event-stream', 'last-event-id': 'first' } };

/** [what, who asks, path, request, status, code] */
type Refused = readonly [string, ApiClient, string, RequestOptions, number, string];
const REFUSED: readonly Refused[] = [
  ['an unknown field', api, '/v1/runs', post({ ...GOOD, colour: 'red' }), 422, 'invalid_request'],
  [
    'an unknown field of the agent',
    api,
    '/v1/runs',
    post({ agent: { ...ECHO, x: 1 }, input: '' }),
    422,
    'invalid_request',
  ],
  ['an unknown limit', api, '/v1/runs', post({ ...GOOD, limits: { max_stepz: 1 } }), 422, 'invalid_request'],
  ['a wrong type', api, '/v1/runs', post({ ...GOOD, input: 7 }), 422, 'invalid_request'],
  ['no input', api, '/v1/runs', post({ agent: ECHO }), 422, 'invalid_request'],
  ['a list in place of a body', api, '/v1/runs', post([GOOD]), 422, 'invalid_request'],
  [
    'a limit above the agent’s',
    api,
    '/v1/runs',
    post({ agent: { ...ECHO, limits: { max_steps: 2 } }, input: '', limits: { max_steps: 0 } }),
    422,
    'invalid_request',
  ],
  ['no JSON', api, '/v1/runs', post('{"agent": '), 400, 'invalid_json'],
  ['no body', api, '/v1/runs', { method: 'POST' }, 400, 'invalid_json'],
  [
    '5,000 levels',
    api,
    '/v1/runs',
    post(`{"agent":{"model":"mock/echo"},"input":${nested}}`),
    422,
    'invalid_request',
  ],
  [
    'a body over 1 MiB',
    api,
    '/v1/runs',
    post({ ...GOOD, input: 'x'.repeat(1024 * 1024) }),
    413,
    'payload_too_large',
  ],
  ['an unknown agent', api, '/v1/runs', post({ agent: 'nobody', input: '' }), 422, 'agent_not_found'],
  ['an unknown version', api, '/v1/runs', post({ agent: 'nobody@3', input: '' }), 422, 'agent_not_found'],
  [
    'an unknown provider',
    api,
    '/v1/runs',
    post({ agent: { model: 'acme/x' }, input: '' }),
    422,
    'invalid_request',
  ],
  [
    'an unknown mock',
    api,
    '/v1/runs',
    post({ agent: { model: 'mock/mind' }, input: '' }),
    422,
    'model_unknown',
  ],
  [
    'an unpriced model',
    api,
    '/v1/runs',
    post({ agent: { model: 'openai/gpt-0-unheard-of' }, input: '' }),
    422,
    'price_unknown',
  ],
  [
    'a priced model for a free agent',
    api,
    '/v1/runs',
    post({ agent: { model: 'openai/gpt-4o-mini', cost_intent: 'free' }, input: '' }),
    422,
    'invalid_request',
  ],
  [
    'a used key with another body',
    api,
    '/v1/runs',
    { body: { ...GOOD, input: 'other' }, headers: { 'idempotency-key': 'taken' } },
    422,
    'idempotency_mismatch',
  ],
  [
    'a malformed Idempotency-Key',
    api,
    '/v1/runs',
    { body: GOOD, headers: { 'idempotency-key': 'a b' } },
    422,
    'invalid_request',
  ],
  ['no key', nobody, '/v1/runs', post(GOOD), 401, 'unauthenticated'],
  ['a wrong key', forger, '/v1/runs', post(GOOD), 401, 'unauthenticated'],
  ['a key without the scope', reader, '/v1/runs', post(GOOD), 403, 'forbidden'],
  ['an abort without the scope', reader, `/v1/runs/${own.id}/abort`, post({}), 403, 'forbidden'],
  ['another tenant’s run', stranger, `/v1/runs/${own.id}`, {}, 404, 'not_found'],
  ['another tenant’s run, its events', stranger, `/v1/runs/${own.id}/events`, {}, 404, 'not_found'],
  ['another tenant’s run, its steps', stranger, `/v1/runs/${own.id}/steps`, {}, 404, 'not_found'],
  ['another tenant’s run, to abort', stranger, `/v1/runs/${own.id}/abort`, post({}), 404, 'not_found'],
  ['a run that is not there', api, `/v1/runs/run_${'0'.repeat(32)}`, {}, 404, 'not_found'],
  ['no id of a run', api, '/v1/runs/run_%00', {}, 404, 'not_found'],
  ['an ended run, to abort', api, `/v1/runs/${own.id}/abort`, post({}), 409, 'run_terminal'],
  ['a malformed cursor', api, '/v1/runs?cursor=%00', {}, 422, 'invalid_request'],
  ['a cursor of nothing', api, '/v1/runs?cursor=cnVuXw', {}, 422, 'invalid_request'],
  ['a malformed limit', api, '/v1/runs?limit=many', {}, 422, 'invalid_request'],
  ['an unknown filter', api, '/v1/runs?colour=red', {}, 422, 'invalid_request'],
  ['a malformed time', api, '/v1/runs?created_after=yesterday', {}, 422, 'invalid_request'],
  ['a malformed Last-Event-ID', api, `/v1/runs/${own.id}/events`, stream, 422, 'invalid_request'],
  ['a malformed after', api, `/v1/runs/${own.id}/events?after=-1`, {}, 422, 'invalid_request'],
  [
    'an agent with an unpriced model',
    api,
    '/v1/agents/a1',
    { method: 'PUT', body: { model: 'openai/gpt-0-unheard-of' } },
    422,
    'price_unknown',
  ],
  [
    'an agent with an unknown tool',
    api,
    '/v1/agents/a1',
    { method: 'PUT', body: { ...ECHO, tools: ['rm'] } },
    422,
    'invalid_request',
  ],
  [
    'an agent with a bad name',
    api,
    '/v1/agents/A%201',
    { method: 'PUT', body: ECHO },
    422,
    'invalid_request',
  ],
];

test('what is refused is answered with its code, and leaves nothing behind', async () => {
  const before = await keysAndRows(system);
  for (const [what, who, path, request, status, code] of REFUSED) {
    const answer = await who.request(path, request);
    assert.deepEqual(
      [answer.status, answer.json['code']],
      [status, code],
      `${what}: ${JSON.stringify(answer.json)}`,
    );
    assert.match(answer.headers.get('content-type') ?? '', /^application\/problem\+json/, what);
  }
  assert.deepEqual(await keysAndRows(system), before);
});

/** [what the model does, its turns, how the run ends, tool results as the model is told them] */
type Misbehaviour = readonly [string, readonly object[], readonly [string, string | null], readonly string[]];
const said = (name: string, args: unknown): object => ({ tool_calls: [{ name, arguments: args }] });
const FINE = { text: 'fine' };
const TOLD: readonly Misbehaviour[] = [
  [
    'arguments that are no JSON',
    [said('calculator', '{"expression": '), FINE],
    ['succeeded', null],
    ['invalid_arguments'],
  ],
  [
    'arguments that do not fit',
    [said('calculator', { sum: 1 }), FINE],
    ['succeeded', null],
    ['invalid_arguments'],
  ],
  ['an unknown tool', [said('teleport', {}), FINE], ['succeeded', null], ['unknown_tool']],
  [
    'a tool the agent does not have',
    [said('http_request', { method: 'GET', url: 'http://127.0.0.1/' }), FINE],
    ['succeeded', null],
    ['unknown_tool'],
  ],
  [
    'a sum that is none',
    [said('calculator', { expression: '1 +' }), FINE],
    ['succeeded', null],
    ['invalid_arguments'],
  ],
  [
    'a call cut off at the limit',
    [{ ...said('calculator', '{"expre'), finish_reason: 'length' }, FINE],
    ['succeeded', null],
    ['invalid_arguments'],
  ],
  ['empty answers only', [{ text: '' }], ['failed', 'invalid_output'], []],
  ['a truncated answer once', [{ text: 'and then', finish_reason: 'length' }, FINE], ['succeeded', null], []],
  [
    'truncated answers only',
    [{ text: 'and then', finish_reason: 'length' }],
    ['failed', 'invalid_output'],
    [],
  ],
  ['a refusal', [{ text: 'I will not.', finish_reason: 'refusal' }], ['failed', 'invalid_output'], []],
];

test('a model that misbehaves is told, and the run goes on or ends with a clear code', async () => {
  const ids = await Promise.all(
    ['mock/script', 'anthropic/claude-haiku-4-5', 'openai/gpt-4o-mini'].flatMap((model) =>
      TOLD.map(async ([what, turns, [status, code], told]) => {
        const run = await api.submit({
          agent: { model, tools: ['calculator'] },
          input: JSON.stringify({ turns }),
        });
        const { error, ...ended } = await api.end(run.id);
        assert.deepEqual(
          [ended.status, error?.code ?? null],
          [status, code],
          `${model}: ${what}: ${error?.message}`,
        );
        const failures = (await api.events(run.id)).filter(({ type }) => type === 'tool.failed');
        assert.deepEqual(
          failures.map(({ data }) => data['code']),
          told,
          `${model}: ${what}`,
        );
        return run.id;
      }),
    ),
  );
  for (const model of ['anthropic/claude-haiku-4-5', 'openai/gpt-4o-mini']) {
    const run = await api.submit({ agent: taggedAgent('shy', { model }), input: 'hi' });
    const { status, steps } = await api.end(run.id);
    assert.deepEqual([status, steps], ['succeeded', 2], model);
    ids.push(run.id);
  }
  await settled(system, ids);
  assert.deepEqual(await violations(system), []);
});

const NUL = '\u0000';
const LONE = '\ud83d';
const ODD = `a${NUL}b${LONE}c`;
const MENDED = 'a\ufffdb\ufffdc';

test('NUL and lone surrogates in every text are taken, and stored without breaking a batch', async () => {
  const put = await api.request('/v1/agents/odd', { method: 'PUT', body: { ...ECHO, instructions: ODD } });
  assert.equal(put.status, 201, JSON.stringify(put.json));
  const labels = { user_id: ODD, session_id: ODD, metadata: { [ODD]: ODD } };
  const runs = await Promise.all([
    api.submit({ agent: 'odd', input: ODD, ...labels }),
    api.submit({ agent: { ...ECHO, instructions: ODD }, input: [{ role: 'user', content: ODD }], ...labels }),
    // The model itself says such things: text, tool name, arguments, call id.
    api.submit({
      agent: { model: 'mock/script', tools: ['calculator'] },
      input: JSON.stringify({
        turns: [
          {
            text: ODD,
            tool_calls: [
              { id: ODD, name: ODD, arguments: ODD },
              { name: 'calculator', arguments: { expression: ODD } },
            ],
          },
          { text: ODD },
        ],
      }),
    }),
  ]);
  const aborted = await api.submit({ ...GOOD, run_at: '2099-01-01T00:00:00Z' });
  assert.equal((await api.request(`/v1/runs/${aborted.id}/abort`, post({ reason: ODD }))).status, 202);
  // A neighbour in the same batch suffers nothing.
  const plain = await api.submit(GOOD);

  const counts = await settled(system, [...runs.map(({ id }) => id), aborted.id, plain.id]);
  assert.deepEqual(Object.fromEntries(counts), { succeeded: 4, aborted: 1 });
  assert.deepEqual(await violations(system), []);
  const outputs = await Promise.all(runs.map(async ({ id }) => (await api.run(id)).output));
  assert.deepEqual(outputs.slice(0, 2), [MENDED, MENDED]);
  assert.equal(outputs[2]?.replaceAll(NUL, '\ufffd'), MENDED);
  const [first] = runs;
  const { user_id: user, session_id: session, metadata, input } = await api.run(first?.id ?? '');
  assert.deepEqual([user, session, metadata, input], [MENDED, MENDED, { [MENDED]: MENDED }, MENDED]);
  const rows = await system.db.selectFrom('runs').select('id').where('user_id', '=', MENDED).execute();
  assert.equal(rows.length, 2);
  const { json } = await api.request(`/v1/runs?user_id=${encodeURIComponent(MENDED)}`);
  assert.equal((json['data'] as unknown[]).length, 2);
});

test('such characters in a query find nothing and break nothing', async () => {
  for (const query of ['user_id=a%00b', 'session_id=%ED%A0%80', 'user_id=%00']) {
    const { status } = await api.request(`/v1/runs?${query}`);
    assert.ok(status === 200 || status === 422, `${query}: ${status}`);
  }
});

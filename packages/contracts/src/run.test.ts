import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { AgentSpec, toolEntryName } from './agent.ts';
import { type ApiScope, API_SCOPES, hasScope } from './api-key.ts';
import { SpecContent } from './content.ts';
import { ModelRef, PROVIDERS, splitModelRef } from './model-ref.ts';
import { isTerminal, RUN_STATUSES, RunSubmission, TERMINAL_STATUSES } from './run.ts';

test('the smallest submission gets its defaults', () => {
  assert.deepEqual(RunSubmission.parse({ agent: 'support', input: 'hi' }), {
    agent: 'support',
    input: 'hi',
    metadata: {},
    priority: 'normal',
    limits: {},
  });
});

const FULL = {
  agent: 'support@3',
  input: [{ role: 'user', content: 'hi' }],
  user_id: 'u1',
  session_id: 's1',
  metadata: { k: 'v' },
  priority: 'high',
  run_at: '2026-01-01T00:00:00+02:00',
  limits: { max_steps: 20, max_output_tokens: 1024, timeout_seconds: 600, cost_usd: 0.5 },
};

test('a submission as the contract shows it is accepted unchanged', () => {
  assert.deepEqual(RunSubmission.parse(FULL), FULL);
  const nulls = { ...FULL, user_id: null, session_id: null, run_at: null };
  assert.deepEqual(RunSubmission.parse(nulls), nulls);
});

const many = (count: number): Record<string, string> =>
  Object.fromEntries(Array.from({ length: count }, (_, i) => [`k${i}`, 'v']));

const REFUSED: readonly [string, object][] = [
  ['an unknown field', { surprise: 1 }],
  ['an unknown limit', { limits: { max_tokens: 5 } }],
  ['an unknown field of a message', { input: [{ role: 'user', content: 'x', name: 'y' }] }],
  ['an unknown field of an inline agent', { agent: { model: 'mock/echo', tool: [] } }],
  ['no agent', { agent: undefined }],
  ['no input', { input: undefined }],
  ['an agent by number', { agent: 7 }],
  ['an agent name in capitals', { agent: 'Support' }],
  ['version 0', { agent: 'support@0' }],
  ['an inline agent without a model', { agent: { instructions: 'x' } }],
  ['an input that is a number', { input: 5 }],
  ['an empty conversation', { input: [] }],
  ['a system message', { input: [{ role: 'system', content: 'x' }] }],
  ['a text that is too long', { input: 'x'.repeat(1_000_001) }],
  ['too many messages', { input: Array.from({ length: 1001 }, () => ({ role: 'user', content: 'x' })) }],
  ['an empty user', { user_id: '' }],
  ['a user that is too long', { user_id: 'u'.repeat(257) }],
  ['a session that is a number', { session_id: 1 }],
  ['metadata that is no text', { metadata: { k: 1 } }],
  ['too much metadata', { metadata: many(51) }],
  ['a metadata key that is too long', { metadata: { ['k'.repeat(65)]: 'v' } }],
  ['a metadata value that is too long', { metadata: { k: 'v'.repeat(513) } }],
  ['an unknown priority', { priority: 'urgent' }],
  ['a time without a zone', { run_at: '2026-01-01T00:00:00' }],
  ['a time that is none', { run_at: 'tomorrow' }],
  ['no steps', { limits: { max_steps: 0 } }],
  ['half a step', { limits: { max_steps: 1.5 } }],
  ['more than a day', { limits: { timeout_seconds: 86_401 } }],
  ['a negative cap', { limits: { cost_usd: -1 } }],
  ['a cap above what Lua can count', { limits: { cost_usd: 9_000_001 } }],
];

for (const [what, change] of REFUSED) {
  test(`a submission with ${what} is refused`, () => {
    assert.ok(!RunSubmission.safeParse({ ...FULL, ...change }).success);
  });
}

test('the largest values allowed are accepted', () => {
  const largest = { ...FULL, input: 'x'.repeat(1_000_000), user_id: 'u'.repeat(256), metadata: many(50) };
  assert.deepEqual(RunSubmission.parse(largest), largest);
});

test('of metadata with too many keys none is looked at: one issue, however many do not fit', () => {
  const metadata = Object.fromEntries(Array.from({ length: 90_000 }, (_, i) => [`k${i}`, i]));
  const { error } = RunSubmission.safeParse({ ...FULL, metadata });
  assert.deepEqual(
    error?.issues.map(({ path, message }) => ({ path, message })),
    [{ path: ['metadata'], message: 'at most 50 keys' }],
  );
});

test('an input keeps every character, NUL and lone surrogates too', () => {
  const text = fc.string({
    unit: fc.integer({ min: 0, max: 0xffff }).map((code) => String.fromCharCode(code)),
  });
  fc.assert(
    fc.property(text, (input) => assert.equal(RunSubmission.parse({ agent: 'a', input }).input, input)),
  );
});

test('an agent needs a model only; the rest has defaults', () => {
  assert.deepEqual(AgentSpec.parse({ model: 'mock/echo' }), {
    instructions: '',
    model: 'mock/echo',
    fallbacks: [],
    tools: [],
    limits: {},
    temperature: null,
    output_schema: null,
    cost_intent: 'paid',
  });
});

test('defaults are not shared between agents', () => {
  const [one, two] = [AgentSpec.parse({ model: 'mock/echo' }), AgentSpec.parse({ model: 'mock/echo' })];
  one.tools.push('calculator');
  assert.deepEqual(two.tools, []);
});

test('an agent as the contract shows it is accepted, and a tool may be said to be repeatable', () => {
  const { tools, temperature } = AgentSpec.parse({
    instructions: '...',
    model: 'anthropic/claude-haiku-4-5',
    fallbacks: ['openai/gpt-4o-mini'],
    tools: ['calculator', { name: 'http_request', repeatable: true }, { name: 'wait' }],
    limits: { max_steps: 20, max_output_tokens: 1024, timeout_seconds: 600, cost_usd: 1 },
    temperature: 0,
    output_schema: null,
    cost_intent: 'free',
  });
  assert.equal(temperature, 0);
  assert.deepEqual(tools.map(toolEntryName), ['calculator', 'http_request', 'wait']);
  assert.deepEqual(tools.slice(1), [
    { name: 'http_request', repeatable: true },
    { name: 'wait', repeatable: false },
  ]);
});

test('a stored agent is read whatever its cost was rounded from', () => {
  const spec = { model: 'mock/echo', limits: { max_steps: 3, cost_usd: 1.6e-9 } };
  assert.ok(!AgentSpec.safeParse(spec).success);
  assert.deepEqual(SpecContent.parse(spec).limits, spec.limits);
  assert.ok(!SpecContent.safeParse({ ...spec, limits: { cost_usd: -1 } }).success);
});

test('a stored agent is read though a tool of it is no more; a new one may not name it', () => {
  const tools = ['calculator', 'gone', { name: 'gone too', repeatable: true }];
  const spec = { model: 'mock/echo', tools };
  assert.ok(!AgentSpec.safeParse(spec).success);
  assert.deepEqual(SpecContent.parse(spec).tools, tools);
  assert.deepEqual(SpecContent.parse({ model: 'mock/echo' }).tools, []);
});

const BAD_AGENTS: readonly [string, object][] = [
  ['an unknown provider', { model: 'acme/gpt' }],
  ['a model without a provider', { model: 'gpt-4o' }],
  ['a model with a space', { model: 'mock/a b' }],
  ['an unknown tool', { tools: ['shell'] }],
  ['an unknown field of a tool', { tools: [{ name: 'wait', safe: true }] }],
  ['six fallbacks', { fallbacks: Array.from({ length: 6 }, () => 'mock/a') }],
  ['a temperature above 2', { temperature: 2.1 }],
  ['an output schema that is no object', { output_schema: 'string' }],
  ['an unknown cost intent', { cost_intent: 'cheap' }],
];

for (const [what, change] of BAD_AGENTS) {
  test(`an agent with ${what} is refused`, () => {
    assert.ok(!AgentSpec.safeParse({ model: 'mock/echo', ...change }).success);
  });
}

test('a model reference splits at its first slash and joins to what it was', () => {
  assert.deepEqual(splitModelRef('openrouter/meta-llama/llama-3:free'), {
    provider: 'openrouter',
    model: 'meta-llama/llama-3:free',
  });
  for (const name of PROVIDERS) {
    assert.ok(ModelRef.safeParse(`${name}/m`).success, name);
    assert.ok(!ModelRef.safeParse(`${name}/`).success, name);
  }
});

test('three statuses are terminal', () => {
  assert.deepEqual(RUN_STATUSES.filter(isTerminal), [...TERMINAL_STATUSES]);
  assert.deepEqual([...TERMINAL_STATUSES], ['succeeded', 'failed', 'aborted']);
});

test('admin holds every scope, others only their own', () => {
  const principal = (...scopes: ApiScope[]) => ({ keyId: 'key_1', tenantId: 't', partition: 0, scopes });
  for (const scope of API_SCOPES) {
    assert.ok(hasScope(principal('admin'), scope));
    assert.equal(hasScope(principal('runs:read'), scope), scope === 'runs:read');
  }
  assert.ok(!hasScope(principal(), 'runs:read'));
});

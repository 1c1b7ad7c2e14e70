/**
 * What single providers mean by a refusal, in their own words and shapes: what is tried again, and what is said of it.
 */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { ModelError } from '@signalbox/contracts';
import { createModels } from '@signalbox/providers';
import { systemClock } from '@signalbox/runtime';
import type { FakeReply } from '../support/fake-provider/index.ts';
import { ask, requestTo, withFake } from './calls.ts';

const failureOf = async (provider: string, reply: FakeReply): Promise<ModelError> => {
  const failures: unknown[] = [];
  await withFake({ behave: () => reply }, async ({ openaiBaseUrl }) => {
    const models = createModels({ clock: systemClock, baseUrls: { [provider]: openaiBaseUrl } });
    await ask(models, requestTo(`${provider}/some-model`)).catch((thrown: unknown) => failures.push(thrown));
  });
  const [failure] = failures;
  assert.ok(failure instanceof ModelError, String(failure));
  return failure;
};

it('groq: a tool call of its model that it could not read may be readable the next time, and was worked on', async () => {
  const error = {
    message:
      "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.",
    type: 'invalid_request_error',
    code: 'tool_use_failed',
    failed_generation: '<function=f{"secret": 1}</function>',
  };
  const { code, retryable, billed, message } = await failureOf('groq', { status: 400, errorBody: { error } });
  assert.deepEqual([code, retryable, billed], ['provider_error', true, 'unknown']);
  assert.equal(message, `groq could not read what its model wrote (HTTP 400): ${error.message}`);
});

it('a quota that is used up is no rate: nothing comes of asking again', async () => {
  for (const code of ['insufficient_quota', 'billing_hard_limit_reached', 'billing_not_active']) {
    const error = { message: 'You exceeded your current quota.', type: code, param: null, code };
    const failure = await failureOf('openai', { status: 429, errorBody: { error } });
    assert.deepEqual(
      [failure.code, failure.retryable, failure.billed, failure.message],
      ['provider_error', false, 'none', `openai has no quota left for our key (HTTP 429): ${error.message}`],
    );
  }
});

it('openrouter: an input that its moderation flags is no matter of our key', async () => {
  const error = {
    message: 'The model requires moderation. Your input was flagged for "violence". No credits were charged.',
    code: 403,
    metadata: { reasons: ['violence'], flagged_input: 'what was sent', provider_name: 'OpenAI' },
  };
  const { code, retryable, message } = await failureOf('openrouter', { status: 403, errorBody: { error } });
  assert.deepEqual([code, retryable], ['provider_error', false]);
  assert.equal(message, `openrouter refused the request (HTTP 403): ${error.message}`);
});

it('what is forbidden is said, since a good key may lack just that; a bad key is not quoted', async () => {
  const error = { message: 'Your project has no access to model some-model (sk-proj-****abcd).' };
  const forbidden = await failureOf('openai', { status: 403, errorBody: { error } });
  assert.deepEqual([forbidden.code, forbidden.retryable], ['provider_auth', false]);
  assert.equal(
    forbidden.message,
    `openai forbids our key what it was asked for (HTTP 403): ${error.message}`,
  );
  const bad = await failureOf('openai', { status: 401, errorBody: { error } });
  assert.equal(bad.message, 'openai refused our API key (HTTP 401): check the key of openai');
});

it('gemini: how long to stay away stands in the body alone', async () => {
  const error = (retryDelay: string): unknown => ({
    code: 429,
    message: 'You exceeded your current quota.',
    status: 'RESOURCE_EXHAUSTED',
    details: [
      { '@type': 'type.googleapis.com/google.rpc.QuotaFailure', violations: [{ quotaId: 'PerMinute' }] },
      { '@type': 'type.googleapis.com/google.rpc.RetryInfo', retryDelay },
    ],
  });
  const awayMs = async (errorBody: unknown, headers: Record<string, string> = {}): Promise<number | null> =>
    (await failureOf('gemini', { status: 429, errorBody, headers })).retryAfterMs;
  assert.equal(await awayMs({ error: error('34.074824224s') }), 34_075);
  assert.equal(await awayMs([{ error: error('17s') }]), 17_000);
  assert.equal(await awayMs({ error: error('17s') }, { 'retry-after': '2' }), 2000);
  for (const odd of ['-1s', '1m', 's', '', '1e9s']) assert.equal(await awayMs({ error: error(odd) }), null);
  assert.equal(await awayMs({ error: { message: 'slow', details: 'none' } }), null);
});

const OVERLOADED = { type: 'error', error: { type: 'overloaded_error', message: 'Overloaded' } };
const START = { type: 'message_start', message: { id: 'm', usage: { input_tokens: 9, output_tokens: 1 } } };
const sse = (...events: readonly { type: string }[]): string =>
  events.map((event) => `event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`).join('');

for (const [model, name, type, body, billed] of [
  ['anthropic/claude-haiku-4-5', 'in a stream', 'text/event-stream', sse(OVERLOADED), 'none'],
  ['anthropic/claude-opus-5', 'as a body', 'application/json', JSON.stringify(OVERLOADED), 'none'],
  ['anthropic/claude-opus-5', 'where it began', 'text/event-stream', sse(START, OVERLOADED), 'unknown'],
  ['openai/gpt-5', 'where it does not say that it begins', 'text/event-stream', sse(OVERLOADED), 'unknown'],
] as const) {
  it(`${model}: overloaded, told with HTTP 200 ${name}`, async () => {
    const answer = async (): Promise<Response> => new Response(body, { headers: { 'content-type': type } });
    const models = createModels({ clock: systemClock, fetch: answer });
    const failure: unknown = await ask(models, requestTo(model)).catch((thrown: unknown) => thrown);
    assert.ok(failure instanceof ModelError, String(failure));
    assert.deepEqual([failure.code, failure.retryable, failure.billed], ['provider_error', true, billed]);
    assert.match(failure.message, /: Overloaded$/);
  });
}

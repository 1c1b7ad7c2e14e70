/** A conversation that is too long, in the words and shapes of each provider: never retried, never billed. */
import assert from 'node:assert/strict';
import { it } from 'node:test';
import { ModelError, type ModelPort } from '@signalbox/contracts';
import { createModels } from '@signalbox/providers';
import { systemClock } from '@signalbox/runtime';
import type { FakeReply } from '../support/fake-provider/index.ts';
import { ask, MINI, requestTo, withFake } from './calls.ts';

const failureOf = async (models: ModelPort, model: string): Promise<ModelError> => {
  const error: unknown = await ask(models, requestTo(model)).catch((thrown: unknown) => thrown);
  assert.ok(error instanceof ModelError, String(error));
  return error;
};

const CODE = 'context_length_exceeded';
const LIMIT = "This model's maximum context length is 65536 tokens. However, you requested 70000 tokens";

/** As these providers are known to answer; with what shows whether their own words were read. */
const REFUSALS: readonly (FakeReply & { provider: string; words: string })[] = [
  {
    provider: 'openai',
    status: 400,
    errorBody: {
      error: {
        message: 'Input tokens exceed the configured limit',
        type: 'invalid_request_error',
        code: CODE,
      },
    },
    words: 'configured limit',
  },
  { provider: 'openai', status: 400, errorBody: { error: { message: 'No.', code: CODE } }, words: 'No.' },
  { provider: 'openai', status: 422, errorBody: { error: { message: null, code: CODE } }, words: CODE },
  {
    provider: 'groq',
    status: 400,
    errorBody: {
      error: {
        message: 'Please reduce the length of the messages or completion.',
        param: 'messages',
        code: CODE,
      },
    },
    words: 'reduce the length',
  },
  {
    provider: 'mistral',
    status: 400,
    errorBody: {
      object: 'error',
      message: 'Prompt contains 40000 tokens, too large for model with 32768 maximum context length',
      type: 'invalid_request_error',
      code: '3051',
    },
    words: 'Prompt contains 40000',
  },
  {
    provider: 'gemini',
    status: 400,
    errorBody: [
      {
        error: {
          code: 400,
          message: 'The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).',
          status: 'INVALID_ARGUMENT',
        },
      },
    ],
    words: 'input token count',
  },
  { provider: 'deepseek', status: 400, errorBody: { error: { message: LIMIT } }, words: 'maximum context' },
  {
    provider: 'openrouter',
    status: 400,
    errorBody: { error: { message: LIMIT, code: 400, metadata: { provider_name: null } } },
    words: 'maximum context',
  },
  {
    provider: 'openrouter',
    status: 400,
    errorBody: {
      error: {
        message: 'Provider returned error',
        code: 400,
        metadata: { raw: JSON.stringify({ error: { message: LIMIT, code: 400 } }), provider_name: 'Nvidia' },
      },
    },
    words: 'Provider returned error: This model',
  },
  {
    provider: 'openrouter',
    status: 400,
    errorBody: {
      error: {
        message: 'Provider returned error',
        code: 400,
        metadata: { raw: JSON.stringify({ error: { message: 'No.', code: CODE } }) },
      },
    },
    words: 'Provider returned error: No.',
  },
  {
    provider: 'anthropic',
    status: 400,
    text: 'input length and `max_tokens` exceed context limit: 188240 + 21333 > 200000',
    words: 'context limit',
  },
];

for (const [n, { provider, words, ...reply }] of REFUSALS.entries()) {
  it(`${n + 1}. ${provider}: ${words}`, () =>
    withFake({ behave: () => reply }, async (fake) => {
      const { anthropicBaseUrl: anthropic, openaiBaseUrl } = fake;
      const models = createModels({
        clock: systemClock,
        baseUrls: { anthropic, ...(provider === 'anthropic' ? {} : { [provider]: openaiBaseUrl }) },
      });
      const { code, retryable, billed, message } = await failureOf(models, `${provider}/some-model`);
      assert.deepEqual([code, retryable, billed], ['context_too_long', false, 'none']);
      assert.ok(message.includes(words), message);
    }));
}

const IN_AN_ANSWER = [
  ['text/event-stream', `data: ${JSON.stringify({ error: { message: 'No.', code: CODE } })}\n\n`],
  ['application/json', JSON.stringify({ error: { message: 'No.', code: CODE } })],
] as const;

for (const [type, body] of IN_AN_ANSWER) {
  it(`told in the place of an answer, as ${type}`, async () => {
    const answer = async (): Promise<Response> => new Response(body, { headers: { 'content-type': type } });
    const models = createModels({ clock: systemClock, fetch: answer });
    const { code, retryable, message } = await failureOf(models, MINI);
    assert.deepEqual([code, retryable], ['context_too_long', false]);
    assert.match(message, /: No\.$/);
  });
}

const REFUSED = { type: 'extra_forbidden', msg: 'Extra inputs are not permitted', input: 'what was sent' };

for (const [errorBody, words] of [
  [{ code: 'no_model', input: 'what was sent' }, 'no_model'],
  [{ detail: [REFUSED] }, REFUSED.msg],
  [{ object: 'error', message: { detail: [REFUSED] }, type: 'invalid_request_error' }, REFUSED.msg],
  [{ error: { message: 'No.', metadata: { raw: 'not JSON' } } }, 'No.: not JSON'],
  [{ input: 'what was sent' }, 'an error without a message'],
] as const) {
  it(`another refusal is another error, without what was sent: ${JSON.stringify(errorBody).slice(0, 30)}`, () =>
    withFake({ behave: () => ({ status: 422, errorBody }) }, async (_, models) => {
      const { code, message } = await failureOf(models, MINI);
      assert.deepEqual(
        [code, message],
        ['provider_error', `openai refused the request (HTTP 422): ${words}`],
      );
    }));
}

it('a body as deep as it likes is no trouble', () =>
  withFake(
    {
      behave: () => ({
        status: 400,
        errorBody: JSON.parse('{"error":'.repeat(2000) + '1' + '}'.repeat(2000)),
      }),
    },
    async (_, models) => assert.equal((await failureOf(models, MINI)).code, 'provider_error'),
  ));

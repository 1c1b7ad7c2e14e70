/** What single providers mean by a refusal, in their own words and shapes: what is tried again, and what is said of it. */
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

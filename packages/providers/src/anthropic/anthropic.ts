import Anthropic from '@anthropic-ai/sdk';
import { Stream } from '@anthropic-ai/sdk/streaming';
import { splitModelRef } from '@signalbox/contracts';
import { toMessagesBody } from './anthropic-request.ts';
import { createMessagesReader } from './anthropic-answer.ts';
import { attemptCall } from '../attempt/attempt.ts';
import { attemptPing } from '../keys/ping.ts';
import type { ProviderClient } from '../provider-client.ts';
import { type ClientOptions, sdkOptions } from '../sdk-options.ts';

/** We never ask for it. These do not unless asked; later ones may begin so, and say it in their first block. */
const mayThinkUnasked = (model: string): boolean => !/^claude-(3|(haiku|sonnet|opus)-4)(-|$)/.test(model);

/** Claude models over the Messages API; always streams, never retries. */
export const createAnthropic = (options: ClientOptions): ProviderClient => {
  const { apiKey, clock, timeoutMs } = options;
  const client = new Anthropic({ ...sdkOptions(options), openTelemetry: false });
  const errors = { connection: Anthropic.APIConnectionError, api: Anthropic.APIError };
  const deps = { provider: 'anthropic', secrets: [apiKey], errors, clock, timeoutMs };
  return {
    ping: () =>
      attemptPing(deps, (signal) => client.get('/v1/models', { query: { limit: 1 }, signal }).asResponse()),
    call: (request, callOptions) => {
      const { model } = splitModelRef(request.model);
      return attemptCall(
        deps,
        {
          ...createMessagesReader(),
          modelAsked: model,
          mayHideOutput: mayThinkUnasked(model),
          saysWhenItBegins: true,
          requestIdHeader: 'request-id',
          send: (signal) => client.messages.create(toMessagesBody(request, model), { signal }).asResponse(),
          events: (response, controller) => Stream.fromSSEResponse<unknown>(response, controller, client),
        },
        callOptions,
      );
    },
  };
};

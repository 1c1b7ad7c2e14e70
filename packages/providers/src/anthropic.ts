import Anthropic from '@anthropic-ai/sdk';
import { Stream } from '@anthropic-ai/sdk/streaming';
import { splitModelRef } from '@signalbox/contracts';
import type { Clock } from '@signalbox/runtime';
import { createMessagesReader, toMessagesBody } from './anthropic-wire.ts';
import { attemptCall } from './attempt.ts';
import { patientDispatcher } from './patient-dispatcher.ts';
import { attemptPing } from './ping.ts';
import type { ProviderClient } from './provider-client.ts';

export interface AnthropicOptions {
  readonly apiKey: string;
  readonly baseUrl: string;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly fetch?: typeof fetch | undefined;
}

/** We never ask for it. These do not unless asked; later ones may begin so, and say it in their first block. */
const mayThinkUnasked = (model: string): boolean => !/^claude-(3|(haiku|sonnet|opus)-4)(-|$)/.test(model);

/** Claude models over the Messages API; always streams, never retries. */
export const createAnthropic = ({
  apiKey,
  baseUrl,
  clock,
  timeoutMs,
  fetch,
}: AnthropicOptions): ProviderClient => {
  const client = new Anthropic({
    apiKey,
    baseURL: baseUrl,
    maxRetries: 0,
    // The attempt's own deadline comes first and covers the body too.
    timeout: 2 * timeoutMs,
    fetchOptions: { dispatcher: patientDispatcher },
    openTelemetry: false,
    // Its console logger prints pieces of answers (R13); failures reach the caller as errors.
    logLevel: 'off',
    ...(fetch === undefined ? {} : { fetch }),
  });
  const errors = { connection: Anthropic.APIConnectionError, api: Anthropic.APIError };
  const deps = { provider: 'anthropic', secrets: [apiKey], errors, clock, timeoutMs };
  return {
    ping: () =>
      attemptPing(deps, (signal) => client.get('/v1/models', { query: { limit: 1 }, signal }).asResponse()),
    call: (request, options) => {
      const { model } = splitModelRef(request.model);
      return attemptCall(
        deps,
        {
          ...createMessagesReader(),
          modelAsked: model,
          mayHideOutput: mayThinkUnasked(model),
          requestIdHeader: 'request-id',
          send: (signal) => client.messages.create(toMessagesBody(request, model), { signal }).asResponse(),
          events: (response, controller) => Stream.fromSSEResponse<unknown>(response, controller, client),
        },
        options,
      );
    },
  };
};

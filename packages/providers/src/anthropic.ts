import Anthropic from '@anthropic-ai/sdk';
import { Stream } from '@anthropic-ai/sdk/streaming';
import { type ModelPort, splitModelRef } from '@signalbox/contracts';
import type { Clock } from '@signalbox/runtime';
import { createMessagesReader, toMessagesBody } from './anthropic-wire.ts';
import { attemptCall } from './attempt.ts';

export interface AnthropicOptions {
  readonly apiKey: string;
  readonly baseUrl: string;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly fetch?: typeof fetch | undefined;
}

/** Claude models over the Messages API; always streams, never retries. */
export const createAnthropic = ({
  apiKey,
  baseUrl,
  clock,
  timeoutMs,
  fetch,
}: AnthropicOptions): ModelPort => {
  const client = new Anthropic({
    apiKey,
    baseURL: baseUrl,
    maxRetries: 0,
    // The attempt's own deadline comes first and covers the body too.
    timeout: 2 * timeoutMs,
    openTelemetry: false,
    // Its console logger prints pieces of answers (R13); failures reach the caller as errors.
    logLevel: 'off',
    ...(fetch === undefined ? {} : { fetch }),
  });
  const deps = { provider: 'anthropic', secrets: [apiKey], clock, timeoutMs };
  return {
    call: (request, options) => {
      const { model } = splitModelRef(request.model);
      return attemptCall(
        deps,
        {
          ...createMessagesReader(),
          modelAsked: model,
          requestIdHeader: 'request-id',
          send: (signal) => client.messages.create(toMessagesBody(request, model), { signal }).asResponse(),
          events: (response, controller) => Stream.fromSSEResponse<unknown>(response, controller, client),
        },
        options,
      );
    },
  };
};

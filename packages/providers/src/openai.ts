import { splitModelRef } from '@signalbox/contracts';
import type { Clock } from '@signalbox/runtime';
import OpenAI from 'openai';
import { Stream } from 'openai/streaming';
import { attemptCall } from './attempt.ts';
import { DIALECTS, type DialectName } from './dialects.ts';
import { toCompletionsBody } from './openai-request.ts';
import { createCompletionsReader } from './openai-wire.ts';
import { patientDispatcher } from './patient-dispatcher.ts';
import { attemptPing } from './ping.ts';
import type { ProviderClient } from './provider-client.ts';

export interface OpenAiOptions {
  readonly provider: DialectName;
  readonly apiKey: string;
  readonly baseUrl: string;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly fetch?: typeof fetch | undefined;
}

/** Models behind Chat Completions, in the dialect of their provider; always streams, never retries. */
export const createOpenAi = ({
  provider,
  apiKey,
  baseUrl,
  clock,
  timeoutMs,
  fetch,
}: OpenAiOptions): ProviderClient => {
  const dialect = DIALECTS[provider];
  const client = new OpenAI({
    apiKey,
    baseURL: baseUrl,
    // Explicitly none: left out, the SDK reads them from the environment.
    organization: null,
    project: null,
    adminAPIKey: null,
    maxRetries: 0,
    // The attempt's own deadline comes first and covers the body too.
    timeout: 2 * timeoutMs,
    fetchOptions: { dispatcher: patientDispatcher },
    // Its console logger may print pieces of answers (R13); failures reach the caller as errors.
    logLevel: 'off',
    ...(fetch === undefined ? {} : { fetch }),
  });
  const errors = { connection: OpenAI.APIConnectionError, api: OpenAI.APIError };
  const deps = { provider, secrets: [apiKey], errors, clock, timeoutMs };
  return {
    ping: () => attemptPing(deps, (signal) => client.get(dialect.pingPath, { signal }).asResponse()),
    call: (request, options) => {
      const { model } = splitModelRef(request.model);
      return attemptCall(
        deps,
        {
          ...createCompletionsReader(dialect),
          modelAsked: model,
          mayHideOutput: !dialect.streamsAllOutput(model),
          requestIdHeader: 'x-request-id',
          send: (signal) =>
            client.chat.completions
              .create(toCompletionsBody(request, model, dialect), { signal })
              .asResponse(),
          events: (response, controller) => Stream.fromSSEResponse<unknown>(response, controller, client),
        },
        options,
      );
    },
  };
};

import { splitModelRef } from '@signalbox/contracts';
import OpenAI from 'openai';
import { Stream } from 'openai/streaming';
import { attemptCall } from '../attempt/attempt.ts';
import { DIALECTS, type DialectName } from './dialects.ts';
import { toCompletionsBody } from './openai-request.ts';
import { createCompletionsReader } from './openai-answer.ts';
import { attemptPing } from '../keys/ping.ts';
import type { ProviderClient } from '../provider-client.ts';
import { readOn } from '../attempt/read-on.ts';
import { type ClientOptions, sdkOptions } from '../sdk-options.ts';

export interface OpenAiOptions extends ClientOptions {
  readonly provider: DialectName;
}

/** Models behind Chat Completions, in the dialect of their provider; always streams, never retries. */
export const createOpenAi = (options: OpenAiOptions): ProviderClient => {
  const { provider, apiKey, clock, timeoutMs } = options;
  const dialect = DIALECTS[provider];
  const client = new OpenAI({
    ...sdkOptions(options),
    // Explicitly none: left out, the SDK reads them from the environment.
    organization: null,
    project: null,
    adminAPIKey: null,
  });
  const errors = { connection: OpenAI.APIConnectionError, api: OpenAI.APIError };
  const deps = { provider, secrets: [apiKey], errors, clock, timeoutMs };
  return {
    ping: () => attemptPing(deps, (signal) => client.get(dialect.pingPath, { signal }).asResponse()),
    call: (request, callOptions) => {
      const { model } = splitModelRef(request.model);
      return attemptCall(
        deps,
        {
          ...createCompletionsReader(dialect),
          modelAsked: model,
          mayHideOutput: !dialect.streamsAllOutput(model),
          saysWhenItBegins: false,
          requestIdHeader: 'x-request-id',
          send: (signal) =>
            client.chat.completions
              .create(toCompletionsBody(request, model, dialect), { signal })
              .asResponse(),
          // The SDK stops at [DONE].
          events: (response, controller) =>
            Stream.fromSSEResponse<unknown>(readOn(response, clock), controller, client),
        },
        callOptions,
      );
    },
  };
};

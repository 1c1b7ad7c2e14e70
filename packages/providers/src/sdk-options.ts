import type { Clock } from '@signalbox/runtime';
import { patientDispatcher } from './patient-dispatcher.ts';

export interface ClientOptions {
  readonly apiKey: string;
  readonly baseUrl: string;
  readonly clock: Clock;
  readonly timeoutMs: number;
  readonly fetch?: typeof fetch | undefined;
}

/** What both vendors' SDKs are told. */
export const sdkOptions = ({ apiKey, baseUrl, timeoutMs, fetch }: ClientOptions) =>
  ({
    apiKey,
    baseURL: baseUrl,
    // Each attempt is a hold of its own.
    maxRetries: 0,
    // The attempt's own deadline comes first and covers the body too.
    timeout: 2 * timeoutMs,
    // A redirect is an answer: an attempt is one request, and no key or prompt goes where nobody said it should.
    fetchOptions: { dispatcher: patientDispatcher, redirect: 'manual' },
    // Their console loggers may print pieces of answers (R13); failures reach the caller as errors.
    logLevel: 'off',
    ...(fetch === undefined ? {} : { fetch }),
  }) as const;

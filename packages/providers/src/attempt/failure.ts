import { ModelError, type Usage } from '@signalbox/contracts';
import { createRedactor } from '@signalbox/engine';
import { messageOf } from '@signalbox/runtime';
import { refusalOf } from './refusal.ts';
import { retryAfterMs, retryDelayMs } from './retry-after.ts';
import { type Said, SaidError, saidIn, saysOverloaded, saysTooLong, wordsOf } from './said.ts';

/** What goes wrong on the way to a provider becomes a `ModelError` here, and only here. */
export interface FailedAttempt {
  readonly provider: string;
  /** Values that must never show in a message. */
  readonly secrets: readonly string[];
  /** The provider began to answer with success: work was done and may be billed. */
  readonly accepted: boolean;
  readonly usage: Usage | null;
  readonly outputBytes: number;
  /** More may have been billed than what arrived. */
  readonly mayHideOutput: boolean;
  /** False: the provider says so when it begins, and has not. */
  readonly mayHaveBegun: boolean;
  /** Wall time, ms: for a Retry-After that is a date. */
  readonly now: number;
}

type Class<T> = abstract new (...args: never[]) => T;

/** What a provider's SDK throws; its client names them, so that only the SDK in use is loaded. */
export interface SdkErrors {
  readonly connection: Class<Error>;
  readonly api: Class<
    Error & {
      readonly status: number | undefined;
      readonly headers: Headers | undefined;
      readonly error: unknown;
    }
  >;
}

export interface StatusFailure {
  readonly status: number;
  readonly said: Said;
  readonly retryAfterMs?: number | null;
}

const MAX_MESSAGE = 300;
/** Of what is told, so much is looked at: enough that no part of a secret at its end gets into the message. */
const MAX_TOLD = 20_000;

/** Refused before a byte left this machine, or before a connection stood: nothing can have been billed. */
const NEVER_ARRIVED = new Set([
  'ECONNREFUSED',
  'ENOTFOUND',
  'EAI_AGAIN',
  'EHOSTUNREACH',
  'ENETUNREACH',
  'UND_ERR_CONNECT_TIMEOUT',
  'ERR_INVALID_URL',
]);

export const toModelError = (error: unknown, attempt: FailedAttempt, sdk: SdkErrors): ModelError => {
  if (error instanceof ModelError) return error;
  if (error instanceof sdk.connection) return connectionError(error, attempt);
  if (error instanceof sdk.api) {
    const { status, headers } = error;
    // Without JSON in the body, the message is its text.
    const said = saidIn(error.error ?? error.message);
    if (status === undefined) return brokenError(attempt, said);
    const awayMs = retryAfterMs(headers, attempt.now) ?? retryDelayMs(said.retryDelay);
    return statusError({ status, said, retryAfterMs: awayMs }, attempt);
  }
  if (!attempt.accepted) return connectionError(error, attempt);
  return brokenError(attempt, error instanceof SaidError ? error.said : saidIn(discreet(error)));
};

/** An answer with an HTTP error status. A scripted failure of the mock goes the same way. */
export const statusError = (failure: StatusFailure, { provider, secrets }: FailedAttempt): ModelError => {
  const { status, said, retryAfterMs: awayMs = null } = failure;
  const refusal = refusalOf(status, said, provider);
  const { code = 'provider_error', what, retryable = false, billed = 'none' } = refusal;
  const remedy = refusal.remedy ?? clean(wordsOf(said), secrets);
  return new ModelError(code, `${what} (HTTP ${status}): ${remedy}`, {
    retryable,
    billed,
    httpStatus: status,
    retryAfterMs: awayMs,
  });
};

/** What arrived bounds what was generated only where all of it is streamed. */
const billedSoFar = ({ mayHideOutput }: FailedAttempt): 'partial' | 'unknown' =>
  mayHideOutput ? 'unknown' : 'partial';

/** The provider said that it has no room, in the place of an answer's beginning: it took the request no further. */
const neverBegan = ({ mayHaveBegun }: FailedAttempt, said: Said): boolean =>
  !mayHaveBegun && saysOverloaded(said);

/** The caller gave up. `sent`: false when nothing had left for the provider yet. */
export const abortedError = (attempt: FailedAttempt, sent: boolean): ModelError =>
  new ModelError('provider_error', `the call to ${attempt.provider} was aborted`, {
    retryable: false,
    billed: sent ? billedSoFar(attempt) : 'none',
    usage: attempt.usage,
    outputBytes: attempt.outputBytes,
    aborted: true,
  });

export const timeoutError = (attempt: FailedAttempt, timeoutMs: number): ModelError =>
  new ModelError('provider_error', `${attempt.provider} did not finish its answer within ${timeoutMs} ms`, {
    retryable: true,
    billed: attempt.accepted ? billedSoFar(attempt) : 'unknown',
    usage: attempt.usage,
    outputBytes: attempt.outputBytes,
  });

/** The answer began and did not come to its end. */
export const brokenError = (attempt: FailedAttempt, said: Said): ModelError => {
  const { provider, secrets, usage, outputBytes } = attempt;
  const tooLong = saysTooLong(said);
  const billed = neverBegan(attempt, said) ? 'none' : billedSoFar(attempt);
  return new ModelError(
    tooLong ? 'context_too_long' : 'provider_error',
    `the answer of ${provider} broke off after ${outputBytes} bytes: ${clean(wordsOf(said), secrets)}`,
    { retryable: !tooLong, billed, usage, outputBytes },
  );
};

const connectionError = (error: unknown, { provider, secrets }: FailedAttempt): ModelError => {
  const code = networkCodeOf(error);
  const arrived = code === null || !NEVER_ARRIVED.has(code);
  return new ModelError(
    'provider_error',
    `no answer from ${provider}: ${code ?? clean(discreet(error), secrets)}`,
    {
      retryable: true,
      billed: arrived ? 'unknown' : 'none',
    },
  );
};

/** The system's error code, wherever in the chain of causes it is. */
const networkCodeOf = (error: unknown, depth = 0): string | null => {
  if (!(error instanceof Error) || depth > 5) return null;
  if ('code' in error && typeof error.code === 'string') return error.code;
  return networkCodeOf(error instanceof AggregateError ? error.errors[0] : error.cause, depth + 1);
};

/** A SyntaxError of JSON.parse quotes what it stumbled over: part of an answer (R13). */
const discreet = (error: unknown): string => {
  if (error instanceof SyntaxError) return 'it is not JSON';
  return messageOf(error);
};

const clean = (text: string, secrets: readonly string[]): string => {
  // One line, without control characters: messages end up in logs and events.
  const line = createRedactor({ secrets })
    .text(text.slice(0, MAX_TOLD).toWellFormed())
    .replaceAll(/[\p{Cc}\s]+/gu, ' ')
    .trim();
  return line.length > MAX_MESSAGE ? `${line.slice(0, MAX_MESSAGE).toWellFormed()}...` : line;
};

import type { ErrorCode } from '@signalbox/contracts';
import { type Said, saysFlagged, saysOverloaded, saysTooLong } from './said.ts';

/** Anthropic's status for it. */
const OVERLOADED = 529;

/** None is followed (sdk-options.ts). */
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** In conflict with another request, or too early: as it is, it may be taken the next time. */
const NOT_NOW: ReadonlySet<number> = new Set([409, 425]);

/** openai's codes for an account that has to be paid up, or given more. */
const NO_QUOTA: ReadonlySet<string> = new Set([
  'insufficient_quota',
  'billing_hard_limit_reached',
  'billing_not_active',
]);

/** groq's code for a tool call that its model wrote in a wrong form, which it may not do the next time. */
const UNREADABLE = 'tool_use_failed';

/**
 * The provider took the request no further. A 503 alone does not say so: a gateway answers one too, when it loses a
 * provider that was at work.
 */
const hadNoRoom = (status: number, said: Said): boolean =>
  status === OVERLOADED || (status === 503 && saysOverloaded(said));

/** What an HTTP error status means for the call, and what is said of it. */
export interface Refusal {
  readonly code?: ErrorCode;
  readonly what: string;
  /** In the place of what the provider said. */
  readonly remedy?: string;
  readonly retryable?: boolean;
  readonly billed?: 'unknown';
}

type Refuse = (said: Said, provider: string) => Refusal;

const unauthorized: Refuse = (_, provider) => ({
  code: 'provider_auth',
  what: `${provider} refused our API key`,
  // Their words may quote a part of it.
  remedy: `check the key of ${provider}`,
});

const forbidden: Refuse = (said, provider) =>
  saysFlagged(said)
    ? { what: `${provider} refused the request` }
    : { code: 'provider_auth', what: `${provider} forbids our key what it was asked for` };

const redirected: Refuse = (_, provider) => ({
  what: `${provider} redirects to another address, where nothing is sent`,
  remedy: 'correct its base URL',
});

const limited: Refuse = ({ code }, provider) =>
  NO_QUOTA.has(code ?? '')
    ? { what: `${provider} has no quota left for our key` }
    : { what: `${provider} limits our rate`, retryable: true };

const failed = (status: number, said: Said, provider: string): Refusal => {
  const failure = { what: `${provider} failed`, retryable: true };
  // Any other may have failed after the model had worked.
  return hadNoRoom(status, said) ? failure : { ...failure, billed: 'unknown' };
};

const refused = (status: number, said: Said, provider: string): Refusal => {
  if (said.code === UNREADABLE)
    return { what: `${provider} could not read what its model wrote`, retryable: true, billed: 'unknown' };
  const tooLong = status === 413 || ((status === 400 || status === 422) && saysTooLong(said));
  return tooLong
    ? { code: 'context_too_long', what: `the conversation is too long for ${provider}` }
    : { what: `${provider} refused the request` };
};

export const refusalOf = (status: number, said: Said, provider: string): Refusal => {
  if (status === 401) return unauthorized(said, provider);
  if (status === 403) return forbidden(said, provider);
  if (status === 429) return limited(said, provider);
  if (REDIRECTS.has(status)) return redirected(said, provider);
  if (NOT_NOW.has(status)) return { what: `${provider} refused the request for now`, retryable: true };
  if (status >= 500 || status === 408) return failed(status, said, provider);
  return refused(status, said, provider);
};

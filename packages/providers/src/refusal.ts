import type { ErrorCode } from '@signalbox/contracts';
import { type Said, saysOverloaded, saysTooLong } from './said.ts';

/** Anthropic's status for it. */
const OVERLOADED = 529;

/** None is followed (sdk-options.ts). */
const REDIRECTS: ReadonlySet<number> = new Set([301, 302, 303, 307, 308]);

/** In conflict with another request, or too early: as it is, it may be taken the next time. */
const NOT_NOW: ReadonlySet<number> = new Set([409, 425]);

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

export const refusalOf = (status: number, said: Said, provider: string): Refusal => {
  if (status === 401 || status === 403)
    return {
      code: 'provider_auth',
      what: `${provider} refused our API key`,
      remedy: `check the key of ${provider}`,
    };
  if (REDIRECTS.has(status))
    return {
      what: `${provider} redirects to another address, where nothing is sent`,
      remedy: 'correct its base URL',
    };
  if (status === 429) return { what: `${provider} limits our rate`, retryable: true };
  if (NOT_NOW.has(status)) return { what: `${provider} refused the request for now`, retryable: true };
  if (status >= 500 || status === 408) {
    const failed = { what: `${provider} failed`, retryable: true };
    // Any other may have failed after the model had worked.
    return hadNoRoom(status, said) ? failed : { ...failed, billed: 'unknown' };
  }
  if (said.code === UNREADABLE)
    return { what: `${provider} could not read what its model wrote`, retryable: true, billed: 'unknown' };
  const tooLong = status === 413 || ((status === 400 || status === 422) && saysTooLong(said));
  return tooLong
    ? { code: 'context_too_long', what: `the conversation is too long for ${provider}` }
    : { what: `${provider} refused the request` };
};

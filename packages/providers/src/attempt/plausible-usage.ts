import type { Usage } from '@signalbox/contracts';
import type { CallBound } from '../prices/cost.ts';

/**
 * Which usage can be true of a call. Honest counts may be above our bound: a gateway adds a preamble or what it found
 * in the web, reasoning may not count towards the limit. What is beyond all that is no usage and is treated as a
 * missing one (Money): one such number, believed, would use up a tenant's caps and break its books.
 */

/** Each way; as many as the largest budgets for hidden reasoning. */
const UNSEEN_TOKENS = 65_536;
/** The bounds are ours, the tokenizer is not. */
const INEXACT = 2;

const mostTokens = (bound: number): number => INEXACT * bound + UNSEEN_TOKENS;

/** The usage, or null when it cannot be true of a call within this bound. */
export const plausibleUsage = (usage: Usage, { inputBound, maxOutputTokens }: CallBound): Usage | null => {
  const cached = usage.cache_read_tokens + usage.cache_write_tokens;
  const input = Math.max(usage.input_tokens, cached);
  return input <= mostTokens(inputBound) && usage.output_tokens <= mostTokens(maxOutputTokens) ? usage : null;
};

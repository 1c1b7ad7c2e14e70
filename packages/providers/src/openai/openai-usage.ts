import type { Usage } from '@signalbox/contracts';
import { z } from 'zod';
import type { Dialect } from './dialects.ts';
import { wireUsage } from '../attempt/parse-wire.ts';

/** What an answer in the Chat Completions wire format says that it used. */

const Count = z.int().min(0).nullish();
const WireUsage = z.object({
  prompt_tokens: Count,
  completion_tokens: Count,
  total_tokens: Count,
  prompt_tokens_details: z.object({ cached_tokens: Count, cache_write_tokens: Count }).nullish(),
  completion_tokens_details: z.object({ reasoning_tokens: Count }).nullish().catch(null),
  /** deepseek's name for cached tokens. */
  prompt_cache_hit_tokens: Count,
  /** USD, of openrouter. */
  cost: z.number().min(0).nullish().catch(null),
});
/** Odd usage comes after what was told on the way, so it is one without counts. */
export const SentUsage = wireUsage(WireUsage, {});

/**
 * Null unless both directions are known: a missing count is unknown, not zero. So is a whole that is less than a part of
 * it: some gateways leave what the cache had out of the prompt, or reasoning out of the completion.
 */
export const toUsage = (wire: z.infer<typeof WireUsage>, { outputTokens }: Dialect): Usage | null => {
  const { prompt_tokens: input, completion_tokens: completion, total_tokens: total } = wire;
  if (typeof input !== 'number') return null;
  const rest = outputTokens === 'total_less_prompt' && typeof total === 'number' ? total - input : null;
  if (typeof completion !== 'number' && rest === null) return null;
  const output = Math.max(completion ?? 0, rest ?? 0);
  const details = wire.prompt_tokens_details;
  const cacheRead = details?.cached_tokens ?? wire.prompt_cache_hit_tokens ?? 0;
  const cacheWrite = details?.cache_write_tokens ?? 0;
  const reasoning = wire.completion_tokens_details?.reasoning_tokens ?? 0;
  if (cacheRead + cacheWrite > input || reasoning > output) return null;
  return {
    input_tokens: input,
    output_tokens: output,
    cache_read_tokens: cacheRead,
    cache_write_tokens: cacheWrite,
  };
};

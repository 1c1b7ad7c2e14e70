/**
 * The script format of `mock/script` (and of the wire-level fake in the tests): JSON
 *
 *     {"turns": [{
 *       "text": "...",                  the answer; `{{tool_results}}` becomes the texts of the tool results
 *                                       since the last assistant message, joined by ", "
 *       "text_length": 2048,            the text is repeated up to so many characters: a long answer, a short script
 *       "tool_calls": [{"id": "c1",     default call_<turn>_<n>
 *                       "name": "calculator", "arguments": {} or "text as the model would write it"}],
 *       "usage": {"input_tokens": 10, "output_tokens": 5, "cache_read_tokens": 0, "cache_write_tokens": 0},
 *                                       default: a quarter of the bytes, and no more output than the call may have;
 *                                       null: the provider sends none
 *       "finish_reason": "stop",        stop | tool_calls | length | refusal
 *       "delay_ms": 0,                  before the answer begins
 *       "chunk_delay_ms": 0,            between its words
 *       "error": {"status": 529, "message": "...", "retryable": true}    instead of an answer
 *     }]}
 *
 * It is read from the first user message if that is such JSON, else from the instructions. Which turn is
 * played is the number of assistant messages in the conversation, so a replay meets the same turns;
 * after the last turn the last one repeats.
 */
import type { Message } from '@signalbox/contracts';
import { LRUCache } from 'lru-cache';
import { z } from 'zod';

/** Of one answer, placeholders filled in. */
export const MOST_CHARS = 1_000_000;

/** The timeout of a call to a provider. */
const LONGEST_MS = 600_000;

const Turn = z.strictObject({
  text: z.string().optional(),
  text_length: z.int().min(1).max(MOST_CHARS).optional(),
  tool_calls: z
    .array(
      z.strictObject({
        id: z.string().min(1).optional(),
        name: z.string(),
        arguments: z.union([z.string(), z.record(z.string(), z.unknown())]).default({}),
      }),
    )
    .optional(),
  usage: z
    .strictObject({
      input_tokens: z.int().min(0).optional(),
      output_tokens: z.int().min(0).optional(),
      cache_read_tokens: z.int().min(0).optional(),
      cache_write_tokens: z.int().min(0).optional(),
    })
    .nullable()
    .optional(),
  finish_reason: z.enum(['stop', 'tool_calls', 'length', 'refusal']).optional(),
  delay_ms: z.int().min(0).max(LONGEST_MS).optional(),
  chunk_delay_ms: z.int().min(0).max(LONGEST_MS).optional(),
  error: z
    .strictObject({
      status: z.int().min(400).max(599),
      message: z.string(),
      retryable: z.boolean().optional(),
    })
    .optional(),
});
export type Turn = z.infer<typeof Turn>;

export const MockScript = z.strictObject({ turns: z.array(Turn).min(1) });
export type MockScript = z.infer<typeof MockScript>;

/** What a conversation must show for its script to be found and played. */
export interface Conversation {
  readonly instructions: string;
  readonly messages: readonly Message[];
  /** What the call was held for: a mock that has a price must not cost more. */
  readonly maxOutputTokens?: number;
}

/** The conversation's script; null when it holds none; a text saying what is wrong with a broken one. */
export const scriptOf = ({ instructions, messages }: Conversation): MockScript | string | null => {
  const first = messages.find(({ role }) => role === 'user')?.content;
  for (const text of [first, instructions]) {
    const found = text?.trimStart().startsWith('{') === true ? readOnce(text) : null;
    if (found !== null) return found;
  }
  return null;
};

/** A run meets the same script at each call, and so do the runs of an agent. */
const MOST_KNOWN = 64;
const known = new LRUCache<string, { readonly script: MockScript | string | null }>({ max: MOST_KNOWN });

const readOnce = (text: string): MockScript | string | null => {
  const before = known.get(text);
  if (before !== undefined) return before.script;
  const script = readScript(text);
  known.set(text, { script });
  return script;
};

const readScript = (text: string): MockScript | string | null => {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    return null;
  }
  if (typeof json !== 'object' || json === null || !('turns' in json)) return null;
  const parsed = MockScript.safeParse(json);
  return parsed.success ? parsed.data : z.prettifyError(parsed.error);
};

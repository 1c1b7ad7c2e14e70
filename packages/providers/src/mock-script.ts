import type { FinishReason, Message, ToolCall, Usage } from '@signalbox/contracts';
import { z } from 'zod';

/**
 * The script format of `mock/script` (and of the wire-level fake in the tests): JSON
 *
 *     {"turns": [{
 *       "text": "...",                  the answer; `{{tool_results}}` becomes the texts of the tool results
 *                                       since the last assistant message, joined by ", "
 *       "tool_calls": [{"id": "c1",     default call_<turn>_<n>
 *                       "name": "calculator", "arguments": {} or "text as the model would write it"}],
 *       "usage": {"input_tokens": 10, "output_tokens": 5, "cache_read_tokens": 0, "cache_write_tokens": 0},
 *                                       default: a quarter of the bytes; null: the provider sends none
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
const Turn = z.strictObject({
  text: z.string().optional(),
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
  delay_ms: z.int().min(0).max(86_400_000).optional(),
  chunk_delay_ms: z.int().min(0).max(86_400_000).optional(),
  error: z
    .strictObject({
      status: z.int().min(400).max(599),
      message: z.string(),
      retryable: z.boolean().optional(),
    })
    .optional(),
});
type Turn = z.infer<typeof Turn>;

export const MockScript = z.strictObject({ turns: z.array(Turn).min(1) });
export type MockScript = z.infer<typeof MockScript>;

/** What a conversation must show for its script to be found and played. */
export interface Conversation {
  readonly instructions: string;
  readonly messages: readonly Message[];
}

/** One turn, ready to be answered. */
export interface PlayedTurn {
  readonly text: string;
  readonly toolCalls: readonly ToolCall[];
  readonly usage: Usage | null;
  readonly finishReason: FinishReason;
  readonly delayMs: number;
  readonly chunkDelayMs: number;
  readonly error: {
    readonly status: number;
    readonly message: string;
    readonly retryable?: boolean | undefined;
  } | null;
}

/** The conversation's script; null when it holds none; a text saying what is wrong with a broken one. */
export const scriptOf = ({ instructions, messages }: Conversation): MockScript | string | null => {
  const first = messages.find(({ role }) => role === 'user')?.content;
  for (const text of [first, instructions]) {
    const found = text === undefined ? null : readScript(text);
    if (found !== null) return found;
  }
  return null;
};

const readScript = (text: string): MockScript | string | null => {
  if (!text.trimStart().startsWith('{')) return null;
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

export const playTurn = (script: MockScript, conversation: Conversation): PlayedTurn => {
  const played = conversation.messages.filter(({ role }) => role === 'assistant').length;
  const turn = script.turns[Math.min(played, script.turns.length - 1)] ?? {};
  const results = toolResultsSinceAnswer(conversation.messages);
  const text = (turn.text ?? '').replaceAll('{{tool_results}}', () => results.join(', '));
  const toolCalls = (turn.tool_calls ?? []).map((call, index) => ({
    id: call.id ?? `call_${played + 1}_${index + 1}`,
    name: call.name,
    arguments: typeof call.arguments === 'string' ? call.arguments : JSON.stringify(call.arguments),
  }));
  return {
    text,
    toolCalls,
    usage:
      turn.usage === null ? null : { ...estimatedUsage(conversation, text, toolCalls), ...given(turn.usage) },
    finishReason: turn.finish_reason ?? (toolCalls.length > 0 ? 'tool_calls' : 'stop'),
    delayMs: turn.delay_ms ?? 0,
    chunkDelayMs: turn.chunk_delay_ms ?? 0,
    error: turn.error ?? null,
  };
};

/** The answer that repeats what the user said last. */
export const echoTurn = (conversation: Conversation): PlayedTurn => {
  const text = conversation.messages.findLast(({ role }) => role === 'user')?.content ?? '';
  return {
    text,
    toolCalls: [],
    usage: estimatedUsage(conversation, text, []),
    finishReason: 'stop',
    delayMs: 0,
    chunkDelayMs: 0,
    error: null,
  };
};

/** A token per four bytes, begun ones counted; at least one each way. */
export const estimatedTokens = (...texts: readonly string[]): number =>
  Math.max(1, Math.ceil(texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0) / 4));

const estimatedUsage = (
  { instructions, messages }: Conversation,
  text: string,
  toolCalls: readonly ToolCall[],
): Usage => ({
  input_tokens: estimatedTokens(instructions, ...messages.map(({ content }) => content)),
  output_tokens: estimatedTokens(text, ...toolCalls.map((call) => call.name + call.arguments)),
  cache_read_tokens: 0,
  cache_write_tokens: 0,
});

const given = (usage: Turn['usage']): Partial<Usage> =>
  Object.fromEntries(Object.entries(usage ?? {}).filter(([, count]) => count !== undefined));

const toolResultsSinceAnswer = (messages: readonly Message[]): string[] => {
  const last = messages.findLastIndex(({ role }) => role === 'assistant');
  return messages.slice(last + 1).flatMap((message) => (message.role === 'tool' ? [message.content] : []));
};

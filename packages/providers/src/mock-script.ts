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
import type { FinishReason, Message, ToolCall, Usage } from '@signalbox/contracts';
import { LRUCache } from 'lru-cache';
import { z } from 'zod';

/** Of one answer, placeholders filled in. */
const MOST_CHARS = 1_000_000;

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
type Turn = z.infer<typeof Turn>;

export const MockScript = z.strictObject({ turns: z.array(Turn).min(1) });
export type MockScript = z.infer<typeof MockScript>;

/** What a conversation must show for its script to be found and played. */
export interface Conversation {
  readonly instructions: string;
  readonly messages: readonly Message[];
  /** What the call was held for: a mock that has a price must not cost more. */
  readonly maxOutputTokens?: number;
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

export const playTurn = (script: MockScript, conversation: Conversation): PlayedTurn => {
  const { answers: played } = measure(conversation.messages);
  const turn = script.turns[Math.min(played, script.turns.length - 1)] ?? {};
  const said = withResults(turn.text ?? '', toolResultsSinceAnswer(conversation.messages).join(', '));
  if (said === null) return { ...SILENT, error: TOO_LONG };
  const text = turn.text_length === undefined ? said : ''.padEnd(turn.text_length, said);
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

const PLACEHOLDER = '{{tool_results}}';

/** Null: it would be longer than an answer may be, which is known before it is made. */
const withResults = (text: string, results: string): string | null => {
  const parts = text.split(PLACEHOLDER);
  const chars = text.length + (parts.length - 1) * (results.length - PLACEHOLDER.length);
  return chars > MOST_CHARS ? null : parts.join(results);
};

const SILENT: Omit<PlayedTurn, 'error'> = {
  text: '',
  toolCalls: [],
  usage: null,
  finishReason: 'stop',
  delayMs: 0,
  chunkDelayMs: 0,
};

const TOO_LONG = { status: 400, message: `the answer would be longer than ${MOST_CHARS} characters` };

/** The answer that repeats what the user said last. */
export const echoTurn = (conversation: Conversation): PlayedTurn => {
  const text = conversation.messages.findLast(({ role }) => role === 'user')?.content ?? '';
  return { ...SILENT, text, usage: estimatedUsage(conversation, text, []), error: null };
};

/** A token per four bytes, begun ones counted; at least one each way. */
export const estimatedTokens = (...texts: readonly string[]): number =>
  tokensOf(texts.reduce((sum, text) => sum + Buffer.byteLength(text), 0));

const tokensOf = (bytes: number): number => Math.max(1, Math.ceil(bytes / 4));

interface Measure {
  /** Messages that were looked at. */
  count: number;
  answers: number;
  bytes: number;
}

/** Of conversations that grow in place: each message is looked at once, or long runs would be slower by the step. */
const measures = new WeakMap<readonly Message[], Measure>();

const measure = (messages: readonly Message[]): Measure => {
  const known = measures.get(messages) ?? { count: 0, answers: 0, bytes: 0 };
  for (const { role, content } of messages.slice(known.count)) {
    known.answers += role === 'assistant' ? 1 : 0;
    known.bytes += Buffer.byteLength(content);
  }
  known.count = messages.length;
  measures.set(messages, known);
  return known;
};

const estimatedUsage = (
  { instructions, messages, maxOutputTokens = Number.MAX_SAFE_INTEGER }: Conversation,
  text: string,
  toolCalls: readonly ToolCall[],
): Usage => ({
  input_tokens: tokensOf(Buffer.byteLength(instructions) + measure(messages).bytes),
  output_tokens: Math.min(
    maxOutputTokens,
    estimatedTokens(text, ...toolCalls.map((call) => call.name + call.arguments)),
  ),
  cache_read_tokens: 0,
  cache_write_tokens: 0,
});

const given = (usage: Turn['usage']): Partial<Usage> =>
  Object.fromEntries(Object.entries(usage ?? {}).filter(([, count]) => count !== undefined));

const toolResultsSinceAnswer = (messages: readonly Message[]): string[] => {
  const last = messages.findLastIndex(({ role }) => role === 'assistant');
  return messages.slice(last + 1).flatMap((message) => (message.role === 'tool' ? [message.content] : []));
};

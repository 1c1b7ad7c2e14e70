import type { Message, ToolCall, Usage } from '@signalbox/contracts';
import type { Conversation } from './mock-script.ts';

/** What a mock says that a call used, where its script does not say it. */

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

/** The model's, so far. */
export const answersIn = (messages: readonly Message[]): number => measure(messages).answers;

export const estimatedUsage = (
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

import type { FinishReason, Message, ToolCall, Usage } from '@signalbox/contracts';
import { type Conversation, type MockScript, MOST_CHARS, type Turn } from './mock-script.ts';
import { answersIn, estimatedUsage } from './mock-usage.ts';

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

export const playTurn = (script: MockScript, conversation: Conversation): PlayedTurn => {
  const played = answersIn(conversation.messages);
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

const given = (usage: Turn['usage']): Partial<Usage> =>
  Object.fromEntries(Object.entries(usage ?? {}).filter(([, count]) => count !== undefined));

const toolResultsSinceAnswer = (messages: readonly Message[]): string[] => {
  const last = messages.findLastIndex(({ role }) => role === 'assistant');
  return messages.slice(last + 1).flatMap((message) => (message.role === 'tool' ? [message.content] : []));
};

import type { FinishReason, Usage } from '@signalbox/contracts';
import { z } from 'zod';
import type { AnswerBuilder } from '../attempt/answer-builder.ts';
import { parseWire, wireUsage } from '../attempt/parse-wire.ts';
import { SaidError } from '../attempt/said.ts';
import { ToolUseBlocks } from './tool-use-blocks.ts';

/** Answers in the Anthropic Messages wire format: events and whole bodies into our answer. */

const Count = z.int().min(0).nullish();
const WireUsage = z.object({
  input_tokens: Count,
  output_tokens: Count,
  cache_creation_input_tokens: Count,
  cache_read_input_tokens: Count,
});
type WireUsage = z.infer<typeof WireUsage>;
const SentUsage = wireUsage(WireUsage, null);

const Block = z.object({
  type: z.string(),
  text: z.string().nullish(),
  id: z.string().nullish(),
  name: z.string().nullish(),
  input: z.unknown().optional(),
});

const WireMessage = z.object({
  id: z.string().nullish(),
  model: z.string().nullish(),
  content: z.array(Block).nullish(),
  stop_reason: z.string().nullish(),
  usage: SentUsage,
  /** Some gateways answer an error with HTTP 200. */
  error: z.unknown().optional(),
});

const Delta = z.object({
  type: z.string().nullish(),
  text: z.string().nullish(),
  partial_json: z.string().nullish(),
  thinking: z.string().nullish(),
  stop_reason: z.string().nullish(),
});

const StreamEvent = z.object({
  message: WireMessage.nullish(),
  index: z.int().nullish(),
  content_block: Block.nullish(),
  delta: Delta.nullish(),
  usage: SentUsage,
});

const AnyEvent = z.object({ type: z.string() });

const FINISH: ReadonlyMap<string, FinishReason> = new Map([
  ['end_turn', 'stop'],
  ['stop_sequence', 'stop'],
  ['tool_use', 'tool_calls'],
  ['max_tokens', 'length'],
  ['model_context_window_exceeded', 'length'],
  ['refusal', 'refusal'],
]);

/** One reader per call: it keeps the usage of both ends. */
export const createMessagesReader = (): {
  onEvent(event: unknown, answer: AnswerBuilder): void;
  onWhole(body: unknown, answer: AnswerBuilder): void;
} => {
  const calls = new ToolUseBlocks();
  let usage: WireUsage = {};
  let thought = false;
  const read: Readonly<Record<string, (event: z.infer<typeof StreamEvent>, answer: AnswerBuilder) => void>> =
    {
      message_start: ({ message }, answer) => {
        answer.mayHaveBegun = true;
        answer.modelServed = message?.model ?? null;
        answer.requestId ??= message?.id ?? null;
        usage = message?.usage ?? {};
        answer.usage = toUsage(usage);
      },
      content_block_start: ({ index, content_block: block }, answer) => {
        // Of thoughts only a summary comes, or nothing; they are billed whole.
        thought ||= block?.type !== 'text' && block?.type !== 'tool_use';
        answer.mayHideOutput = thought;
        if (block?.type === 'text') answer.addText(block.text ?? '');
        if (block?.type === 'tool_use') calls.open(index ?? 0, block, answer);
      },
      content_block_delta: ({ index, delta }, answer) => {
        answer.addText(delta?.text ?? '');
        answer.addHidden(delta?.thinking ?? '');
        calls.add(index ?? 0, delta?.partial_json ?? '', answer);
      },
      message_delta: (event, answer) => {
        // Cumulative: the last one counts, and the input that it leaves out stands as the start said.
        answer.usage = event.usage ? toUsage(merged(usage, event.usage)) : null;
        if (!event.delta?.stop_reason) return;
        calls.end(answer);
        answer.finishReason = finishOf(event.delta.stop_reason);
      },
    };
  return {
    onEvent: (event, answer) => {
      const { type } = parseWire(AnyEvent, event);
      // New types may come at any time, with fields that mean something else.
      if (Object.hasOwn(read, type)) read[type]?.(parseWire(StreamEvent, event), answer);
    },
    onWhole: readWhole,
  };
};

const readWhole = (body: unknown, answer: AnswerBuilder): void => {
  const message = parseWire(WireMessage, body);
  if (message.error) throw new SaidError(message.error);
  answer.modelServed = message.model ?? null;
  answer.requestId ??= message.id ?? null;
  answer.usage = message.usage ? toUsage(message.usage) : null;
  for (const block of message.content ?? []) {
    if (block.type === 'text') answer.addText(block.text ?? '');
    if (block.type === 'tool_use') {
      const position = answer.openCall(block.id ?? '', block.name ?? '');
      answer.addArguments(position, JSON.stringify(block.input ?? {}));
    }
  }
  if (message.stop_reason) answer.finishReason = finishOf(message.stop_reason);
};

const finishOf = (reason: string): FinishReason => FINISH.get(reason) ?? 'stop';

/**
 * Counts only grow: a last one with less input than the start is a gateway's filler. Of the output the start knows
 * nothing.
 */
const merged = (start: WireUsage, last: WireUsage): WireUsage => {
  const filled: WireUsage = {
    input_tokens: last.input_tokens ?? start.input_tokens,
    output_tokens: last.output_tokens,
    cache_creation_input_tokens: last.cache_creation_input_tokens ?? start.cache_creation_input_tokens,
    cache_read_input_tokens: last.cache_read_input_tokens ?? start.cache_read_input_tokens,
  };
  return allInput(filled) < allInput(start) ? { ...start, output_tokens: last.output_tokens } : filled;
};

const allInput = (wire: WireUsage): number =>
  (wire.input_tokens ?? 0) + (wire.cache_creation_input_tokens ?? 0) + (wire.cache_read_input_tokens ?? 0);

/** Their input excludes both cache counts, ours includes them. Null unless both directions are known. */
const toUsage = (wire: WireUsage): Usage | null => {
  const { input_tokens: input, output_tokens: output } = wire;
  if (typeof input !== 'number' || typeof output !== 'number') return null;
  const cacheRead = wire.cache_read_input_tokens ?? 0;
  const cacheWrite = wire.cache_creation_input_tokens ?? 0;
  return {
    input_tokens: input + cacheRead + cacheWrite,
    output_tokens: output,
    cache_read_tokens: cacheRead,
    cache_write_tokens: cacheWrite,
  };
};

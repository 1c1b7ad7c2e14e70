import { type FinishReason, fromUsd } from '@signalbox/contracts';
import { z } from 'zod';
import type { AnswerBuilder } from '../attempt/answer-builder.ts';
import type { Dialect } from './dialects.ts';
import { SentUsage, toUsage } from './openai-usage.ts';
import { parseWire } from '../attempt/parse-wire.ts';
import { SaidError } from '../attempt/said.ts';

/** Answers in the Chat Completions wire format: chunks and whole bodies into our answer. */

const Fragment = z.object({
  index: z.int().nullish(),
  id: z.string().nullish(),
  function: z.object({ name: z.string().nullish(), arguments: z.string().nullish() }).nullish(),
  extra_content: z.unknown().optional(),
});

/** Mistral's form of content with thoughts. */
const ContentPart = z.object({
  type: z.string().nullish(),
  text: z.string().nullish(),
  thinking: z.union([z.string(), z.array(z.object({ text: z.string().nullish() }))]).nullish(),
});

const Part = z.object({
  content: z.union([z.string(), z.array(ContentPart)]).nullish(),
  refusal: z.string().nullish(),
  /** Counted and not kept, so an odd one breaks no answer. */
  reasoning_content: z.string().nullish().catch(null),
  /** openrouter's and groq's name for it. */
  reasoning: z.string().nullish().catch(null),
  tool_calls: z.array(Fragment).nullish(),
});
type Part = z.infer<typeof Part>;

const Choice = z.object({
  delta: Part.nullish(),
  message: Part.nullish(),
  finish_reason: z.string().nullish(),
});
type Choice = z.infer<typeof Choice>;

/** A streamed chunk (`delta`) and a whole completion (`message`) alike. */
const Completion = z.object({
  id: z.string().nullish(),
  model: z.string().nullish(),
  choices: z.array(Choice).nullish(),
  usage: SentUsage,
  /** Some gateways answer an error with HTTP 200. */
  error: z.unknown().optional(),
  /** Where groq put the usage of a stream. */
  x_groq: z.object({ usage: SentUsage }).nullish(),
});

const FINISH: ReadonlyMap<string, FinishReason> = new Map([
  ['stop', 'stop'],
  ['length', 'length'],
  // mistral: the model's window was full.
  ['model_length', 'length'],
  ['tool_calls', 'tool_calls'],
  ['function_call', 'tool_calls'],
  ['content_filter', 'refusal'],
  // deepseek ran out of capacity in the middle.
  ['insufficient_system_resource', 'length'],
  // gemini: a tool call that broke off, or is none that it can read.
  ['function_call_filter', 'length'],
  // gemini's own names, which it does not translate everywhere.
  ['max_tokens', 'length'],
  ['safety', 'refusal'],
  ['recitation', 'refusal'],
  ['blocklist', 'refusal'],
  ['prohibited_content', 'refusal'],
  ['spii', 'refusal'],
]);

/** gemini says more behind a colon: `content_filter: RECITATION`. */
const finishOf = (reason: string): FinishReason =>
  FINISH.get(reason.replace(/:.*/s, '').toLowerCase()) ?? 'stop';

const readContent = (content: string | z.infer<typeof ContentPart>[], answer: AnswerBuilder): void => {
  if (typeof content === 'string') return answer.addText(content);
  for (const { type, text, thinking } of content) {
    if (type === 'text') answer.addText(text ?? '');
    else answer.addHidden(typeof thinking === 'string' ? thinking : textsOf(thinking ?? [{ text }]));
  }
};

const textsOf = (parts: readonly { readonly text?: string | null | undefined }[]): string =>
  parts.map(({ text }) => text ?? '').join('');

interface OpenCall {
  readonly position: number;
  readonly id: string;
}

/** Joins the fragments of an answer's tool calls by their index. */
class ToolCallFragments {
  readonly #dialect: Dialect;
  readonly #open = new Map<number, OpenCall>();
  #next = 0;

  constructor(dialect: Dialect) {
    this.#dialect = dialect;
  }

  read(fragment: z.infer<typeof Fragment>, answer: AnswerBuilder): void {
    const id = fragment.id ?? '';
    const name = fragment.function?.name ?? '';
    const goesOn = id === '' && name === '' && this.#next > 0;
    const index = fragment.index ?? (goesOn ? this.#next - 1 : this.#next);
    let call = this.#open.get(index);
    if (call === undefined || (name !== '' && this.#isAnother(call, fragment, answer))) {
      call = { position: answer.openCall(id, name), id };
      this.#open.set(index, call);
      this.#next = index + 1;
    }
    answer.nameCall(call.position, name);
    answer.addArguments(call.position, fragment.function?.arguments ?? '');
    const { extra_content: extra } = fragment;
    if (this.#dialect.signsToolCalls && extra) answer.addExtraContent(call.position, JSON.stringify(extra));
  }

  /** Some providers give every call the same index: another id is another call, without ids one behind a whole call. */
  #isAnother(call: OpenCall, fragment: z.infer<typeof Fragment>, answer: AnswerBuilder): boolean {
    if (fragment.id) return call.id !== fragment.id;
    return Boolean(fragment.function?.arguments) && answer.hasWholeArguments(call.position);
  }
}

/** One reader per call. */
export const createCompletionsReader = (
  dialect: Dialect,
): {
  onEvent(event: unknown, answer: AnswerBuilder): void;
  onWhole(body: unknown, answer: AnswerBuilder): void;
} => {
  const calls = new ToolCallFragments(dialect);
  let refused = false;
  const readChoice = ({ delta, message, finish_reason: reason }: Choice, answer: AnswerBuilder): void => {
    const part: Part = delta ?? message ?? {};
    readContent(part.content ?? '', answer);
    answer.addHidden(part.reasoning_content ?? part.reasoning ?? '');
    for (const fragment of part.tool_calls ?? []) calls.read(fragment, answer);
    // A refusal comes instead of text.
    answer.addText(part.refusal ?? '');
    refused ||= Boolean(part.refusal);
    // mistral and openrouter: what came is not the whole answer.
    if (reason === 'error') throw new SaidError('the provider broke off the answer with an error');
    if (reason) answer.finishReason = refused ? 'refusal' : finishOf(reason);
  };

  const read = (body: unknown, answer: AnswerBuilder): void => {
    const { id, model, choices, usage, x_groq, error } = parseWire(Completion, body);
    if (error) throw new SaidError(error);
    answer.modelServed = model ?? answer.modelServed;
    answer.requestId ??= id ?? null;
    const wire = usage ?? x_groq?.usage;
    if (wire) {
      answer.usage = toUsage(wire, dialect);
      answer.costNano = dialect.tellsCost && wire.cost ? fromUsd(wire.cost) : null;
    }
    const choice = choices?.[0];
    if (choice !== undefined) readChoice(choice, answer);
  };
  return { onEvent: read, onWhole: read };
};

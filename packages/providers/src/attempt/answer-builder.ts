import {
  type FinishReason,
  type ModelAnswer,
  ModelError,
  type Nano,
  type ToolCall,
  type Usage,
} from '@signalbox/contracts';

/** No content of a run may be longer (Contents); what no model writes would fill the memory of all it passes. */
const MOST_BYTES = 10_000_000;

/**
 * Owns the answer of one attempt while it arrives, streamed or whole.
 * Text is passed on as it comes, except that half of a surrogate pair waits for its other half.
 */
export class AnswerBuilder {
  /** Last usage seen; null while none was. */
  usage: Usage | null = null;
  /** Null while the provider did not say what the call cost. */
  costNano: Nano | null = null;
  /** Set once the provider said that, and why, the answer is over: then it is complete. */
  finishReason: FinishReason | null = null;
  modelServed: string | null = null;
  /** The model may be at work on it. */
  mayHaveBegun: boolean;
  requestId: string | null = null;
  /** More may have been billed than what arrived. */
  mayHideOutput: boolean;

  readonly #onDelta: (text: string) => void;
  readonly #calls: ToolCall[] = [];
  #text = '';
  #waiting = '';
  #bytes = 0;

  constructor(onDelta: (text: string) => void, mayHideOutput: boolean, mayHaveBegun = true) {
    this.#onDelta = onDelta;
    this.mayHideOutput = mayHideOutput;
    this.mayHaveBegun = mayHaveBegun;
  }

  /** UTF-8 bytes of everything the model wrote so far: text, arguments, hidden reasoning. */
  get outputBytes(): number {
    return this.#bytes;
  }

  addText(piece: string): void {
    if (piece === '') return;
    this.#count(piece);
    const text = this.#waiting + piece;
    this.#waiting = endsInHalfPair(text) ? text.slice(-1) : '';
    this.#emit(this.#waiting === '' ? text : text.slice(0, -1));
  }

  /** Reasoning is billed but not part of the answer. */
  addHidden(piece: string): void {
    this.#count(piece);
  }

  /** Opens a tool call and returns its position, the handle for its later fragments. */
  openCall(id: string, name: string): number {
    this.#count(name);
    return this.#calls.push({ id, name, arguments: '' }) - 1;
  }

  /** Some providers tell it with a later fragment than the first. What is told again changes nothing. */
  nameCall(position: number, name: string): void {
    const call = this.#calls[position];
    if (call === undefined || call.name !== '') return;
    this.#count(name);
    call.name = name;
  }

  /** Nothing can follow them: they are an object already. */
  hasWholeArguments(position: number): boolean {
    const text = this.#calls[position]?.arguments ?? '';
    // Most that are not whole are not parsed.
    if (!text.endsWith('}')) return false;
    try {
      JSON.parse(text);
      return true;
    } catch {
      return false;
    }
  }

  addArguments(position: number, piece: string): void {
    const call = this.#calls[position];
    if (call === undefined) return;
    this.#count(piece);
    call.arguments += piece;
  }

  /** What the provider wants back with the call, as JSON. It comes once, with any of the call's fragments. */
  addExtraContent(position: number, json: string): void {
    const call = this.#calls[position];
    if (call === undefined || call.extra_content !== undefined) return;
    this.#count(json);
    call.extra_content = json;
  }

  /** The answer so far; `modelAsked` stands in where the provider did not name what served it. */
  answer(modelAsked: string): ModelAnswer {
    this.#emit(this.#waiting);
    this.#waiting = '';
    const toolCalls = this.#calls.map((call, index) =>
      finished(call, `${this.requestId ?? 'call'}_${index + 1}`),
    );
    return {
      text: this.#text,
      toolCalls,
      finishReason: withCalls(this.finishReason ?? 'stop', toolCalls.length > 0),
      usage: this.usage,
      ...(this.costNano === null ? {} : { costNano: this.costNano }),
      modelServed: this.modelServed ?? modelAsked,
      providerRequestId: this.requestId,
    };
  }

  /** Throws `provider_error`. */
  #count(piece: string): void {
    this.#bytes += Buffer.byteLength(piece);
    if (this.#bytes <= MOST_BYTES) return;
    throw new ModelError('provider_error', `The answer is longer than ${MOST_BYTES} bytes; it was cut off.`, {
      retryable: false,
      billed: 'partial',
      usage: this.usage,
      outputBytes: this.#bytes,
    });
  }

  #emit(text: string): void {
    if (text === '') return;
    const whole = text.toWellFormed();
    this.#text += whole;
    this.#onDelta(whole);
  }
}

const endsInHalfPair = (text: string): boolean => {
  const last = text.charCodeAt(text.length - 1);
  return last >= 0xd800 && last <= 0xdbff;
};

/** Some providers leave the id out; a call without arguments may come without any text at all. */
const finished = (call: ToolCall, fallbackId: string): ToolCall => ({
  ...call,
  id: call.id === '' ? fallbackId : call.id,
  arguments: call.arguments === '' ? '{}' : call.arguments.toWellFormed(),
});

/** Some providers end an answer that holds tool calls with a plain stop. */
const withCalls = (reason: FinishReason, hasCalls: boolean): FinishReason =>
  reason === 'stop' && hasCalls ? 'tool_calls' : reason;

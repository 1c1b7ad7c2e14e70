import type { Message, ModelRequest } from '@signalbox/contracts';

/**
 * Upper bounds of a request's input in tokens, without a tokenizer (Money): every token of the byte-level
 * vocabularies in use covers at least one byte, and our JSON framing is longer than a provider's own.
 */

/** Room for what a provider adds unseen: tool and system preambles. */
const HIDDEN_TOKENS = 1024;

/** Bytes of a request without its messages: the same for every call of an agent to a model. */
export const frameBytes = (frame: Omit<ModelRequest, 'messages'>): number =>
  jsonBytes({ ...frame, messages: [] }) - jsonBytes([]);

/** Bound of a request of which nothing is known; `frame` as of `frameBytes`. */
export const boundFresh = (frame: number, messages: readonly Message[]): number =>
  frame + jsonBytes(messages) + HIDDEN_TOKENS;

/**
 * Bound of a request that continues a call to the same model with the same instructions and tools:
 * `previous` is that call's exact usage, `added` the messages since, its own answer excepted (its output
 * tokens stand for it; with the answer included the bound is only looser).
 */
export const boundAfter = (
  previous: { readonly inputTokens: number; readonly outputTokens: number },
  added: readonly Message[],
): number => previous.inputTokens + previous.outputTokens + jsonBytes(added) + HIDDEN_TOKENS;

const jsonBytes = (value: unknown): number => Buffer.byteLength(JSON.stringify(value));

import type { Json } from './json.ts';
import type { FinishReason } from './event.ts';
import type { ErrorCode } from './errors.ts';
import type { ToolCall } from './content.ts';
import type { Nano } from './money.ts';
import type { Usage } from './run.ts';

/** One entry of the conversation a model is sent. */
export type Message =
  | { readonly role: 'user'; readonly content: string }
  | { readonly role: 'assistant'; readonly content: string; readonly toolCalls: readonly ToolCall[] }
  | { readonly role: 'tool'; readonly callId: string; readonly content: string; readonly isError: boolean };

export interface ToolDefinition {
  readonly name: string;
  readonly description: string;
  /** JSON Schema of the arguments (an object schema). */
  readonly parameters: { readonly [key: string]: Json };
}

/** One request to a model: everything explicit, nothing left to a provider's default. */
export interface ModelRequest {
  /** `provider/model`. */
  readonly model: string;
  readonly instructions: string;
  readonly messages: readonly Message[];
  readonly tools: readonly ToolDefinition[];
  readonly maxOutputTokens: number;
  readonly temperature: number | null;
  readonly outputSchema: { readonly [key: string]: Json } | null;
}

export interface ModelAnswer {
  readonly text: string;
  readonly toolCalls: readonly ToolCall[];
  readonly finishReason: FinishReason;
  /** Null when the provider sent none: the caller charges the hold and marks it estimated. */
  readonly usage: Usage | null;
  /** What the provider says that the call cost, where it says so. */
  readonly costNano?: Nano;
  readonly modelServed: string;
  readonly providerRequestId: string | null;
}

/** The key a provider is called with: the tenant's own from the vault, else that of the environment. */
export interface ProviderKey {
  readonly source: 'env' | 'vault';
  /** HMAC of the key, to tell keys apart without them (R13). Null with `secret`. */
  readonly id: string | null;
  /** Null: it lies in the vault, and this process cannot open it. */
  readonly secret: string | null;
  /** Of one without a secret: the keyring lacks its key, which another process may have. */
  readonly lacksKey?: true;
}

export interface CallOptions {
  /** Null: there is none, or the provider needs none. */
  readonly key: ProviderKey | null;
  readonly signal: AbortSignal;
  readonly onDelta: (text: string) => void;
}

/** A model behind one interface. A call throws `ModelError`. Never retries by itself (each attempt is its own hold). */
export interface ModelPort {
  /** Loads what calls of a model need, so that nothing is loaded between the announcement of one and its sending. */
  load(model: string): Promise<void>;
  call(request: ModelRequest, options: CallOptions): Promise<ModelAnswer>;
}

interface ModelErrorDetails {
  readonly retryable: boolean;
  readonly httpStatus?: number | null;
  readonly retryAfterMs?: number | null;
  /**
   * What may have been billed. `none`: the provider certainly charged nothing (refused before work).
   * `partial`: a stream that shows all it bills broke or was aborted; `usage` is what was seen, if anything.
   * `unknown`: no answer arrived, or not all of it shows; the caller charges the whole hold.
   */
  readonly billed: 'none' | 'partial' | 'unknown';
  readonly usage?: Usage | null;
  /** Bytes of output text received before the break. */
  readonly outputBytes?: number;
  readonly aborted?: boolean;
  readonly cause?: unknown;
}

export class ModelError extends Error {
  override readonly name = 'ModelError';
  readonly code: ErrorCode;
  readonly retryable: boolean;
  readonly httpStatus: number | null;
  readonly retryAfterMs: number | null;
  readonly billed: 'none' | 'partial' | 'unknown';
  readonly usage: Usage | null;
  readonly outputBytes: number;
  readonly aborted: boolean;

  constructor(code: ErrorCode, message: string, details: ModelErrorDetails) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.retryable = details.retryable;
    this.httpStatus = details.httpStatus ?? null;
    this.retryAfterMs = details.retryAfterMs ?? null;
    this.billed = details.billed;
    this.usage = details.usage ?? null;
    this.outputBytes = details.outputBytes ?? 0;
    this.aborted = details.aborted ?? false;
  }
}

/** Integer pico-USD per token, already the rates that apply (tier chosen). */
export interface Rates {
  readonly input: number;
  readonly output: number;
  readonly cacheRead: number;
  readonly cacheWrite: number;
}

/** What a model costs, from one version of the price catalogue. */
export interface Price {
  readonly version: string;
  /** The rates for a request with this many input tokens in all (tiers apply to the whole request). */
  ratesFor(inputTokens: number): Rates;
  /** The highest rates any request of at most this many input tokens can meet. */
  highestRates(inputTokens: number): Rates;
  /** Tokens the model can take in, if known. */
  readonly contextWindow: number | null;
}

export interface PricePort {
  /** Null: unknown price, so the call must be refused (R1). */
  priceOf(model: string): Price | null;
}

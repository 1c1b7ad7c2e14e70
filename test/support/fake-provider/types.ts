import type { Message, ToolCall, Usage } from '@signalbox/contracts';

/** What the fake was asked, read from either wire format. */
export interface FakeRequest {
  readonly id: string;
  readonly api: 'anthropic' | 'openai';
  readonly model: string;
  readonly instructions: string;
  readonly messages: readonly Message[];
  /** Names of the tools offered. */
  readonly tools: readonly string[];
  readonly maxTokens: number | null;
  /** The client asked for server-sent events. */
  readonly stream: boolean;
  /** The client asked for usage in the stream (Anthropic always sends it). */
  readonly streamUsage: boolean;
  readonly body: unknown;
  /** SHA-256 of the API key. */
  readonly key: string;
  /** Without the key. */
  readonly headers: Readonly<Record<string, string>>;
}

/** How to answer; everything is optional. */
export interface FakeReply {
  readonly text?: string;
  readonly toolCalls?: readonly ToolCall[];
  /** Default: a quarter of the bytes, begun ones counted; `input_tokens` includes cache reads and writes. */
  readonly usage?: Partial<Usage>;
  readonly finishReason?: 'stop' | 'tool_calls' | 'length' | 'refusal';
  /** Before the first byte, ms. */
  readonly delayMs?: number;
  /** Between events, ms. */
  readonly chunkDelayMs?: number;
  /** Bytes per write, so that characters and events are torn apart. */
  readonly splitBytes?: number;
  /** 400 and more: an error in the format's own shape, `text` its message. */
  readonly status?: number;
  /** In the place of the format's own shape of an error. */
  readonly errorBody?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  /** The socket is destroyed after this many bytes of body. */
  readonly breakAfterBytes?: number;
  readonly omitUsage?: boolean;
  /** One JSON document even if a stream was asked for. */
  readonly json?: boolean;
}

/** Chooses the reply; undefined: the default behaviour. */
export type Behave = (request: FakeRequest) => FakeReply | undefined | Promise<FakeReply | undefined>;

/** A reply with nothing left open. */
export interface ResolvedReply extends FakeReply {
  readonly text: string;
  readonly toolCalls: readonly ToolCall[];
  readonly usage: Usage;
  readonly finishReason: 'stop' | 'tool_calls' | 'length' | 'refusal';
}

/** One piece of a streamed body and the bytes of answer it carries (for billing what was sent). */
export interface WireEvent {
  readonly text: string;
  readonly outputBytes: number;
}

/** One wire format. */
export interface WireApi {
  readonly path: string;
  /** Reads a body; a text says what the real API would refuse about it. */
  read(body: unknown): Omit<FakeRequest, 'id' | 'key' | 'headers' | 'body'> | string;
  events(request: FakeRequest, reply: ResolvedReply): WireEvent[];
  whole(request: FakeRequest, reply: ResolvedReply): unknown;
  error(status: number, message: string): unknown;
}

/** USD per million tokens. */
export interface FakeRates {
  readonly input: number;
  readonly output: number;
  readonly cacheRead: number;
  readonly cacheWrite: number;
}

/** What the provider remembers of one request: the other side of the run's own books. */
export interface LedgerEntry {
  readonly id: string;
  readonly api: 'anthropic' | 'openai';
  readonly model: string;
  readonly startedAt: number;
  finishedAt: number | null;
  status: number;
  /** The client hung up before the reply was out. */
  closedByClient: boolean;
  /** The reply did not go out whole, whoever ended it. */
  aborted: boolean;
  /** Billed so far: all input once accepted, and what went out. Input includes cache reads and writes. */
  inputTokens: number;
  outputTokens: number;
  cacheReadTokens: number;
  cacheWriteTokens: number;
  /** By the fake's own arithmetic; null without rates for the model. */
  costNano: number | null;
  readonly maxTokens: number | null;
  /** SHA-256 of the API key it was asked with. */
  readonly key: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: unknown;
}

/** A request for the list of models, which is not billed. */
export interface FakePing {
  /** SHA-256 of the API key. */
  readonly key: string;
  readonly status: number;
}

import { sha256Hex } from '@signalbox/runtime';

/**
 * What speaks OpenAI's Chat Completions, and how each differs. `fields` is an allow-list: a request carries
 * nothing else, since some providers refuse fields they do not know. Adding such a provider is adding a row
 * (and its name to `PROVIDERS` in contracts).
 */
export interface Dialect {
  /** Null: there is no public endpoint, the operator must name one. */
  readonly baseUrl: string | null;
  readonly fields: readonly RequestField[];
  /** `total_less_prompt`: `completion_tokens` may leave out reasoning that is billed. */
  readonly outputTokens: 'completion' | 'total_less_prompt';
  /**
   * Whether a model streams all output that is billed; of what may reason out of sight, a call that breaks off may
   * have cost its worst case (R1).
   */
  streamsAllOutput(model: string): boolean;
  /** The id of a tool call as this provider takes it; ids may come from another one (fallback). */
  readonly wireId: (id: string) => string;
  /** Its usage has a `cost`: the same model is served from several places, at several prices. */
  readonly tellsCost?: true;
  /** Which models reason unless told not to, and refuse tools then. */
  readonly refusesToolsWhileReasoning?: (model: string) => boolean;
  /** Which models sign their tool calls (`extra_content`) and refuse a conversation without the signatures. */
  readonly signsToolCalls?: (model: string) => boolean;
  /** A GET that costs nothing and needs a good key. */
  readonly pingPath: '/models' | '/key';
}

export type RequestField =
  | 'model'
  | 'messages'
  | 'stream'
  | 'temperature'
  | 'tools'
  | 'max_tokens'
  | 'max_completion_tokens'
  /** Asks for usage in the stream; the others send it unasked. */
  | 'stream_options'
  /** `none`, where tools are refused otherwise. */
  | 'reasoning_effort'
  /** Always `default`, so that no account setting picks a tier with another price. */
  | 'service_tier'
  /**
   * Always disabled: else deepseek thinks unasked, ignores `temperature`, and wants the thoughts of each turn with
   * tool calls back, which no other model's turn has.
   */
  | 'thinking';

/** Mistral refuses ids that are not of its own form. */
const mistralId = (id: string): string => (/^[a-zA-Z0-9]{9}$/.test(id) ? id : sha256Hex(id).slice(0, 9));

/** OpenAI takes no longer one, whoever hands it on; others give longer ones. */
const MOST_ID_CHARS = 40;
const shortId = (id: string): string =>
  id.length <= MOST_ID_CHARS ? id : sha256Hex(id).slice(0, MOST_ID_CHARS);

const yes = (): boolean => true;
const no = (): boolean => false;

const COMMON = ['model', 'messages', 'stream', 'temperature', 'tools'] as const;

export const DIALECTS = {
  openai: {
    baseUrl: 'https://api.openai.com/v1',
    fields: [...COMMON, 'max_completion_tokens', 'stream_options', 'service_tier', 'reasoning_effort'],
    outputTokens: 'completion',
    // From 5.4 on, but for those that do not reason, or cannot help it.
    refusesToolsWhileReasoning: (model) =>
      /^gpt-(5\.[4-9]|5\.\d\d|[6-9]|\d\d)(?!.*-(chat|pro|codex))/.test(model),
    // No other name promises that nothing reasons behind it.
    streamsAllOutput: (model) => /^(gpt-3\.5|gpt-4|chatgpt-4o)/.test(model),
    wireId: shortId,
    pingPath: '/models',
  },
  gemini: {
    baseUrl: 'https://generativelanguage.googleapis.com/v1beta/openai',
    fields: [...COMMON, 'max_tokens', 'stream_options'],
    outputTokens: 'total_less_prompt',
    signsToolCalls: (model) => /^gemini-(?![12]\b)/.test(model),
    streamsAllOutput: no,
    wireId: shortId,
    pingPath: '/models',
  },
  groq: {
    baseUrl: 'https://api.groq.com/openai/v1',
    fields: [...COMMON, 'max_completion_tokens', 'stream_options'],
    outputTokens: 'completion',
    streamsAllOutput: yes,
    wireId: shortId,
    pingPath: '/models',
  },
  mistral: {
    baseUrl: 'https://api.mistral.ai/v1',
    fields: [...COMMON, 'max_tokens'],
    outputTokens: 'completion',
    streamsAllOutput: yes,
    wireId: mistralId,
    pingPath: '/models',
  },
  openrouter: {
    baseUrl: 'https://openrouter.ai/api/v1',
    fields: [...COMMON, 'max_tokens'],
    outputTokens: 'completion',
    tellsCost: true,
    streamsAllOutput: no,
    wireId: shortId,
    // Its list of models is everybody's.
    pingPath: '/key',
  },
  deepseek: {
    baseUrl: 'https://api.deepseek.com',
    fields: [...COMMON, 'max_tokens', 'stream_options', 'thinking'],
    outputTokens: 'completion',
    streamsAllOutput: yes,
    wireId: shortId,
    pingPath: '/models',
  },
  'oauth-gpt': {
    baseUrl: null,
    fields: [...COMMON, 'max_tokens', 'stream_options'],
    outputTokens: 'completion',
    streamsAllOutput: no,
    wireId: shortId,
    pingPath: '/models',
  },
} as const satisfies Record<string, Dialect>;

export type DialectName = keyof typeof DIALECTS;

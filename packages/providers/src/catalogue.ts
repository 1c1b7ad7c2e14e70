import { type PricePort, PROVIDERS, type ProviderName, splitModelRef } from '@signalbox/contracts';
import { MOCK_MODELS } from './mock/mock.ts';

/** The providers as `GET /v1/providers` shows them. */
export interface ProviderEntry {
  readonly provider: ProviderName;
  readonly auth_mode: 'api_key' | 'none' | 'oauth_bridge';
  readonly default_model: string;
  /** Environment variables that hold its key and another endpoint; null: it has none. */
  readonly key_env: string | null;
  readonly base_url_env: string | null;
}

const withKey = (provider: ProviderName, model: string, prefix: string): ProviderEntry => ({
  provider,
  auth_mode: 'api_key',
  default_model: `${provider}/${model}`,
  key_env: `${prefix}_API_KEY`,
  base_url_env: `${prefix}_BASE_URL`,
});

const ENTRIES: { readonly [P in ProviderName]: ProviderEntry } = {
  mock: {
    provider: 'mock',
    auth_mode: 'none',
    default_model: 'mock/echo',
    key_env: null,
    base_url_env: null,
  },
  openai: withKey('openai', 'gpt-4o-mini', 'OPENAI'),
  anthropic: withKey('anthropic', 'claude-haiku-4-5', 'ANTHROPIC'),
  gemini: withKey('gemini', 'gemini-3.8-flash', 'GEMINI'),
  groq: withKey('groq', 'llama-3.3-70b-versatile', 'GROQ'),
  mistral: withKey('mistral', 'mistral-small-latest', 'MISTRAL'),
  openrouter: withKey('openrouter', 'openai/gpt-4o-mini', 'OPENROUTER'),
  deepseek: withKey('deepseek', 'deepseek-v4-flash', 'DEEPSEEK'),
  'oauth-gpt': {
    provider: 'oauth-gpt',
    auth_mode: 'oauth_bridge',
    default_model: 'oauth-gpt/gpt-5.6',
    key_env: 'OAUTH_GPT_BRIDGE_TOKEN',
    base_url_env: 'OAUTH_GPT_BRIDGE_URL',
  },
};

export const providers: readonly ProviderEntry[] = PROVIDERS.map((provider) => ENTRIES[provider]);

export const providerEntry = (provider: ProviderName): ProviderEntry => ENTRIES[provider];

export const isProvider = (name: string): name is ProviderName => Object.hasOwn(ENTRIES, name);

/** Whether a model can be called at all: a mock that exists, or any priced model of a known provider. */
export const knownModel = (prices: PricePort, model: string): boolean => {
  const { provider } = splitModelRef(model);
  if (provider === 'mock') return MOCK_MODELS.some((name) => name === model);
  return isProvider(provider) && prices.priceOf(model) !== null;
};

import { ModelError, type ModelPort, type ProviderName, splitModelRef } from '@signalbox/contracts';
import type { Clock } from '@signalbox/runtime';
import { createAnthropic } from './anthropic.ts';
import { isProvider, providerEntry } from './catalogue.ts';
import { DIALECTS } from './dialects.ts';
import { createMock } from './mock.ts';
import { createOpenAi } from './openai.ts';

type PerProvider = { readonly [P in ProviderName]?: string | undefined };

export interface ModelsOptions {
  readonly clock: Clock;
  readonly keys: PerProvider;
  readonly baseUrls?: PerProvider;
  /** From send to the last byte of one attempt, ms; default 10 minutes. */
  readonly timeoutMs?: number;
  readonly fetch?: typeof fetch;
}

const DEFAULT_TIMEOUT_MS = 600_000;
const ANTHROPIC_BASE_URL = 'https://api.anthropic.com';

/** All models behind one port. Owns one client per provider, made at its first call. */
export const createModels = (options: ModelsOptions): ModelPort => {
  const clients = new Map<ProviderName, ModelPort>();
  return {
    call: async (request, callOptions) => {
      const { provider } = splitModelRef(request.model);
      if (!isProvider(provider))
        throw refused('provider_error', `no provider ${provider}: see GET /v1/providers`);
      let client = clients.get(provider);
      if (client === undefined) {
        client = createClient(provider, options);
        clients.set(provider, client);
      }
      return client.call(request, callOptions);
    },
  };
};

const createClient = (provider: ProviderName, options: ModelsOptions): ModelPort => {
  const { clock, keys, baseUrls, timeoutMs = DEFAULT_TIMEOUT_MS, fetch } = options;
  if (provider === 'mock') return createMock({ clock });
  const { key_env: keyEnv, base_url_env: urlEnv } = providerEntry(provider);
  const apiKey = keys[provider] ?? '';
  if (apiKey === '' && provider !== 'oauth-gpt') {
    throw refused('provider_auth', `no key for provider ${provider}: set ${keyEnv}`);
  }
  const given = baseUrls?.[provider];
  if (provider === 'anthropic') {
    return createAnthropic({ apiKey, baseUrl: given ?? ANTHROPIC_BASE_URL, clock, timeoutMs, fetch });
  }
  const baseUrl = given ?? DIALECTS[provider].baseUrl;
  if (baseUrl === null) throw refused('provider_auth', `no address for provider ${provider}: set ${urlEnv}`);
  // The SDK insists on a key; a bridge on the operator's side may need none.
  return createOpenAi({
    provider,
    apiKey: apiKey === '' ? 'none' : apiKey,
    baseUrl,
    clock,
    timeoutMs,
    fetch,
  });
};

const refused = (code: 'provider_auth' | 'provider_error', message: string): ModelError =>
  new ModelError(code, message, { retryable: false, billed: 'none' });

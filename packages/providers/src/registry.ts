import {
  type CallOptions,
  ModelError,
  type ModelPort,
  type ProviderKey,
  type ProviderName,
  splitModelRef,
} from '@signalbox/contracts';
import type { Clock } from '@signalbox/runtime';
import { LRUCache } from 'lru-cache';
import { isProvider, providerEntry } from './catalogue.ts';
import { DIALECTS } from './openai/dialects.ts';
import { fitsHeader } from './keys/header-value.ts';
import { createMock } from './mock/mock.ts';
import type { ProviderClient } from './provider-client.ts';
import type { PerProvider } from './keys/provider-environment.ts';

export interface ModelsOptions {
  readonly clock: Clock;
  readonly baseUrls?: PerProvider;
  /** From send to the last byte of one attempt, ms; default 10 minutes. */
  readonly timeoutMs?: number;
  readonly fetch?: typeof fetch;
}

export interface Models extends ModelPort {
  /** Tries a key with one free request. Throws `ModelError`. */
  ping(provider: ProviderName, key: CallOptions['key']): Promise<void>;
}

/** A worker that drains waits for longer, where it can (DRAIN_SECONDS of our deployments). */
export const ATTEMPT_LIMIT_MS = 600_000;
const ANTHROPIC_BASE_URL = 'https://api.anthropic.com';
/** Clients hold no connections of their own, so one that is dropped costs its making again. */
const MOST_CLIENTS = 1000;

/** All models behind one port. Owns one client per provider and key, made at its first call. */
export const createModels = (options: ModelsOptions): Models => {
  const clients = new LRUCache<string, ProviderClient>({ max: MOST_CLIENTS });
  const clientOf = async (provider: ProviderName, key: ProviderKey | null): Promise<ProviderClient> => {
    const secret = secretOf(provider, key);
    const name = `${provider} ${secret}`;
    const known = clients.get(name);
    if (known !== undefined) return known;
    const client = await createClient(provider, secret, options);
    clients.set(name, client);
    return client;
  };
  return {
    load: async (model) => {
      const { provider } = splitModelRef(model);
      if (isProvider(provider)) await loadAdapter(provider);
    },
    call: async (request, callOptions) => {
      const { provider } = splitModelRef(request.model);
      if (!isProvider(provider))
        throw refused('provider_error', `no provider ${provider}: see GET /v1/providers`);
      return (await clientOf(provider, callOptions.key)).call(request, callOptions);
    },
    ping: async (provider, key) => (await clientOf(provider, key)).ping(),
  };
};

/** Empty where none is needed. */
const secretOf = (provider: ProviderName, key: ProviderKey | null): string => {
  if (provider === 'mock') return '';
  if (key === null) {
    // A bridge on the operator's side may need none.
    if (provider === 'oauth-gpt') return '';
    throw refused(
      'provider_auth',
      `no key for provider ${provider}: PUT /v1/providers/${provider}/key, or set ${providerEntry(provider).key_env}`,
    );
  }
  const { source, secret } = key;
  const putAgain = `PUT /v1/providers/${provider}/key again`;
  if (secret === null) {
    throw refused(
      'provider_auth',
      `the key of ${provider} in the vault cannot be opened: it was sealed with a key that is not in ENCRYPTION_KEYS, or is damaged; add that one, or ${putAgain}`,
    );
  }
  if (fitsHeader(secret)) return secret;
  const remedy = source === 'env' ? `correct ${providerEntry(provider).key_env}` : putAgain;
  throw refused(
    'provider_auth',
    `the key of ${provider} holds a character that cannot be sent, such as a line break: ${remedy}`,
  );
};

/** An SDK is loaded when a call first needs it: together they are a third of what a worker loads. */
const loadAnthropic = () => import('./anthropic/anthropic.ts');
const loadOpenAi = () => import('./openai/openai.ts');

const loadAdapter = async (provider: ProviderName): Promise<void> => {
  if (provider === 'mock') return;
  await (provider === 'anthropic' ? loadAnthropic() : loadOpenAi());
};

const createClient = async (
  provider: ProviderName,
  apiKey: string,
  options: ModelsOptions,
): Promise<ProviderClient> => {
  const { clock, baseUrls, timeoutMs = ATTEMPT_LIMIT_MS, fetch } = options;
  if (provider === 'mock') return createMock({ clock });
  const given = baseUrls?.[provider];
  if (provider === 'anthropic') {
    const { createAnthropic } = await loadAnthropic();
    return createAnthropic({ apiKey, baseUrl: given ?? ANTHROPIC_BASE_URL, clock, timeoutMs, fetch });
  }
  const baseUrl = given ?? DIALECTS[provider].baseUrl;
  if (baseUrl === null) {
    const { base_url_env: variable } = providerEntry(provider);
    throw refused('provider_auth', `no address for provider ${provider}: set ${variable}`);
  }
  const { createOpenAi } = await loadOpenAi();
  // The SDK insists on a key.
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

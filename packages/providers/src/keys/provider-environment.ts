import type { ProviderName } from '@signalbox/contracts';
import { url } from '@signalbox/runtime';
import { z } from 'zod';
import { fitsHeader } from './header-value.ts';

/** The environment of providers, the same for every process that calls them. */

const key = z
  .string()
  .refine(fitsHeader, 'expected a key without line breaks, control characters and characters above U+00FF')
  .optional();

/** What `fetch` takes, and a path can be added to: with a user in it, each call would fail and be charged. */
const isPlain = (text: string): boolean => {
  const { username, password, search, hash } = new URL(text);
  return [username, password, search, hash].every((part) => part === '');
};
const address = url(['http', 'https'])
  .refine(isPlain, 'expected a URL without user, password, query and fragment')
  .optional();

export const providerVariables = {
  ANTHROPIC_API_KEY: key,
  OPENAI_API_KEY: key,
  GEMINI_API_KEY: key,
  GROQ_API_KEY: key,
  MISTRAL_API_KEY: key,
  OPENROUTER_API_KEY: key,
  DEEPSEEK_API_KEY: key,
  OAUTH_GPT_BRIDGE_TOKEN: key,
  ANTHROPIC_BASE_URL: address,
  OPENAI_BASE_URL: address,
  GEMINI_BASE_URL: address,
  GROQ_BASE_URL: address,
  MISTRAL_BASE_URL: address,
  OPENROUTER_BASE_URL: address,
  DEEPSEEK_BASE_URL: address,
  OAUTH_GPT_BRIDGE_URL: address,
};
const Variables = z.object(providerVariables);

export type PerProvider = { readonly [P in ProviderName]?: string | undefined };

export interface ProviderAccess {
  /** Used where a tenant has no key of its own. */
  readonly keys: PerProvider;
  /** Instead of the vendor's. */
  readonly baseUrls: PerProvider;
}

export const providerAccess = (env: z.infer<typeof Variables>): ProviderAccess => ({
  keys: {
    anthropic: env.ANTHROPIC_API_KEY,
    openai: env.OPENAI_API_KEY,
    gemini: env.GEMINI_API_KEY,
    groq: env.GROQ_API_KEY,
    mistral: env.MISTRAL_API_KEY,
    openrouter: env.OPENROUTER_API_KEY,
    deepseek: env.DEEPSEEK_API_KEY,
    'oauth-gpt': env.OAUTH_GPT_BRIDGE_TOKEN,
  },
  baseUrls: {
    anthropic: env.ANTHROPIC_BASE_URL,
    openai: env.OPENAI_BASE_URL,
    gemini: env.GEMINI_BASE_URL,
    groq: env.GROQ_BASE_URL,
    mistral: env.MISTRAL_BASE_URL,
    openrouter: env.OPENROUTER_BASE_URL,
    deepseek: env.DEEPSEEK_BASE_URL,
    'oauth-gpt': env.OAUTH_GPT_BRIDGE_URL,
  },
});

import { z } from 'zod';

/** The providers of the catalogue, as they stand before the slash of a model name. */
export const PROVIDERS = [
  'mock',
  'openai',
  'anthropic',
  'gemini',
  'groq',
  'mistral',
  'openrouter',
  'deepseek',
  'oauth-gpt',
] as const;

export type ProviderName = (typeof PROVIDERS)[number];

/** `provider/model`; the model part may itself hold slashes (openrouter). */
export const ModelRef = z
  .string()
  .max(200)
  .regex(
    new RegExp(`^(${PROVIDERS.join('|')})/[A-Za-z0-9._:@/-]+$`),
    `expected provider/model with one of the providers: ${PROVIDERS.join(', ')}`,
  );

export const splitModelRef = (ref: string): { provider: string; model: string } => {
  const slash = ref.indexOf('/');
  return { provider: ref.slice(0, slash), model: ref.slice(slash + 1) };
};

import { readFileSync } from 'node:fs';
import { ModelRef } from '@signalbox/contracts';
import { messageOf } from '@signalbox/runtime';
import { z } from 'zod';
import { PRICES_VERSION, type PricesOptions } from './prices.ts';

/**
 * Prices an operator states in a file, as JSON:
 * `{"version": "acme-2026-11", "models": {"openai/gpt-4o-mini": {"input": 0.15, "output": 0.6}}}`.
 * USD per million tokens; `cache_read` and `cache_write` are the input rate where they are left out. The
 * version is stored with every hold made at these prices, so change it whenever a price changes.
 */

type Overrides = NonNullable<PricesOptions['overrides']>;

/** Far above any real rate, small enough that a worst case stays a safe integer. */
const MOST_USD_PER_MTOK = 10_000;
const rate = z.number().min(0).max(MOST_USD_PER_MTOK);

const File = z.strictObject({
  version: z
    .string()
    .regex(/^[\w.@:-]{1,64}$/, 'expected 1 to 64 letters, digits or . _ @ : -')
    .refine((version) => version !== PRICES_VERSION && version !== 'mock', 'is the name of built-in prices'),
  models: z.record(
    ModelRef,
    z
      .strictObject({
        input: rate,
        output: rate,
        cache_read: rate.optional(),
        cache_write: rate.optional(),
        context_window: z.int().min(1).optional(),
      })
      .transform(({ cache_read, cache_write, context_window, ...rates }) => ({
        ...rates,
        cacheRead: cache_read,
        cacheWrite: cache_write,
        contextWindow: context_window,
      })),
  ),
});

/** JSON takes the last of two entries without a word, and which price was meant nobody knows. Only models have a slash. */
const modelsTwice = (text: string): string[] => {
  const names = (text.match(/"(?:[^"\\]|\\.)*"(?=\s*:)/g) ?? []).map((name) => String(JSON.parse(name)));
  const seen = new Set<string>();
  return names.filter((name) => name.includes('/') && seen.size === seen.add(name).size);
};

/** Far more than anybody reads. */
const MOST_TOLD = 20;

/** Throws an Error that says what is wrong with the file. */
const readPriceOverrides = (path: string): Overrides => {
  const text = readFileSync(path, 'utf8').replace(/^\ufeff/, '');
  const result = File.safeParse(JSON.parse(text));
  const problems = [
    ...modelsTwice(text).map((name) => `models.${name}: stands there twice`),
    ...(result.error?.issues ?? []).map(({ path: at, message }) => `${at.join('.')}: ${message}`),
  ];
  if (result.success && problems.length === 0) return result.data;
  throw new Error(problems.slice(0, MOST_TOLD).join('; '));
};

/** For a `config.ts`: the variable PRICE_OVERRIDES_FILE, read when the process starts. */
export const priceOverridesFile = z
  .string()
  .transform((path, context): Overrides => {
    try {
      return readPriceOverrides(path);
    } catch (error) {
      const message = `expected a file of price overrides (${messageOf(error)})`;
      context.addIssue({ code: 'custom', message });
      return z.NEVER;
    }
  })
  .optional();

import { calcPrice, type ModelInfo, type ModelPrice, type TieredPrices } from '@pydantic/genai-prices';
import { type Price, type PricePort, splitModelRef } from '@signalbox/contracts';
import { picoOf } from './pico.ts';
import { flat, higherOf, priceOf, type RateSteps, type Schedule } from './price-schedule.ts';

/**
 * Prices of models from @pydantic/genai-prices (bundled data, no network), overridden where the operator
 * knows better. Owns a memo of the current UTC day: the library chooses by date and takes 50 µs a lookup.
 * Fails closed (R1): no entry, an entry without an input and an output rate, or one that bills more than tokens, is an
 * unknown price.
 */

const DAY_MS = 86_400_000;

/** Kept equal to the installed package by a test. */
export const PRICES_VERSION = 'genai-prices@0.1.8';

/** USD per million tokens. A missing cache rate is the input rate. */
export interface PriceOverride {
  readonly input: number;
  readonly output: number;
  readonly cacheRead?: number | undefined;
  readonly cacheWrite?: number | undefined;
  readonly contextWindow?: number | undefined;
}

export interface PricesOptions {
  readonly clock: { now(): number };
  readonly overrides?: {
    /** Stored with every hold made at these prices. */
    readonly version: string;
    /** By full name, `provider/model`. */
    readonly models: { readonly [model: string]: PriceOverride };
  };
}

/** Our provider names as the library spells them; what is not here has no catalogue. */
const CATALOGUE: ReadonlyMap<string, string> = new Map([
  ['anthropic', 'anthropic'],
  ['openai', 'openai'],
  ['gemini', 'google'],
  ['groq', 'groq'],
  ['mistral', 'mistral'],
  ['deepseek', 'deepseek'],
  ['openrouter', 'openrouter'],
]);

const FREE = flat(0);
const MOCK_PRICE = priceOf('mock', { input: FREE, output: FREE, cacheRead: FREE, cacheWrite: FREE }, null);

export const createPrices = ({ clock, overrides }: PricesOptions): PricePort => {
  const own = new Map(
    Object.entries(overrides?.models ?? {}).map(([model, rates]) => [
      model,
      overridden(overrides?.version ?? '', rates),
    ]),
  );
  let day = -1;
  let memo = new Map<string, Price | null>();
  return {
    priceOf: (model) => {
      const today = Math.floor(clock.now() / DAY_MS);
      if (today !== day || memo.size > MEMO_LIMIT) {
        day = today;
        memo = new Map();
      }
      let price = memo.get(model);
      if (price === undefined) {
        price = own.get(model) ?? catalogued(model, today * DAY_MS);
        memo.set(model, price);
      }
      return price;
    },
  };
};

/** Model names come from users: without a limit the memo would be theirs to fill. */
const MEMO_LIMIT = 10_000;

const overridden = (version: string, rates: PriceOverride): Price => {
  const input = picoOf(rates.input);
  const schedule = {
    input: flat(input),
    output: flat(picoOf(rates.output)),
    cacheRead: flat(rates.cacheRead === undefined ? input : picoOf(rates.cacheRead)),
    cacheWrite: flat(rates.cacheWrite === undefined ? input : picoOf(rates.cacheWrite)),
  };
  return priceOf(version, schedule, rates.contextWindow ?? null);
};

/**
 * Names of models that bill searches, or more than text, beside their tokens. The catalogue knows few of these fees, and
 * finds a name that it does not know by its beginning.
 */
const BILLS_MORE =
  /(?<![a-z])(search|sonar|online|research|audio|realtime|live|image|tts|transcribe)(?![a-z])[^/]*$/i;

/** Rates that a request without such a tool does not meet. */
const OF_TOOLS: ReadonlySet<string> = new Set(['web_searches_kcount', 'storage_searches_kcount']);

const catalogued = (ref: string, dayStart: number): Price | null => {
  const { provider, model } = splitModelRef(ref);
  if (provider === 'mock') return MOCK_PRICE;
  const providerId = CATALOGUE.get(provider);
  if (providerId === undefined || BILLS_MORE.test(model)) return null;
  const found = lookUp(providerId, model, dayStart);
  if (found === null) return null;
  const schedules = instants(found.model, dayStart).map((at) => {
    const entry = lookUp(providerId, model, at);
    return entry === null ? null : scheduleOf(entry.prices);
  });
  const schedule = schedules.reduce((a, b) => (a === null || b === null ? null : higherOf(a, b)));
  return schedule === null ? null : priceOf(PRICES_VERSION, schedule, found.model.context_window ?? null);
};

const lookUp = (
  providerId: string,
  model: string,
  at: number,
): { model: ModelInfo; prices: ModelPrice } | null => {
  const found = calcPrice({ input_tokens: 1 }, model, { providerId, timestamp: new Date(at) });
  // Some catalogues fall back to another provider's; its prices are not what this provider charges.
  if (found === null || found.provider.id !== providerId) return null;
  return { model: found.model, prices: found.model_price };
};

/**
 * The instants of the day at which this model's price may change: a call may begin on one side and be
 * billed on the other, so the highest of them all is taken.
 */
const instants = ({ prices }: ModelInfo, dayStart: number): [number, ...number[]] => {
  const day = new Date(dayStart).toISOString().slice(0, 10);
  const entries = Array.isArray(prices) ? prices : [];
  const changes = entries.flatMap(({ constraint }) =>
    constraint?.type === 'time_of_date' ? [constraint.start_time, constraint.end_time] : [],
  );
  const times = changes.map((time) => Date.parse(`${day}T${time}`));
  return [dayStart, ...times.filter((time) => Number.isFinite(time))];
};

const scheduleOf = (prices: ModelPrice): Schedule | null => {
  if (Object.keys(prices).some((rate) => !rate.endsWith('_mtok') && !OF_TOOLS.has(rate))) return null;
  const input = stepsOf(prices['input_mtok']);
  const output = stepsOf(prices['output_mtok']);
  if (input === null || output === null) return null;
  const cacheRead = stepsOf(prices['cache_read_mtok']) ?? input;
  const cacheWrite = stepsOf(prices['cache_write_mtok']) ?? input;
  const reasoning = stepsOf(prices['output_reasoning_mtok']);
  const schedule = { input, output, cacheRead, cacheWrite };
  return reasoning === null ? schedule : higherOf(schedule, { ...schedule, output: reasoning });
};

const stepsOf = (rate: number | TieredPrices | undefined): RateSteps | null => {
  if (rate === undefined) return null;
  if (typeof rate === 'number') return flat(picoOf(rate));
  const steps = rate.tiers.map(({ start, price }) => ({ above: start, rate: picoOf(price) }));
  return { base: picoOf(rate.base), steps: steps.toSorted((a, b) => a.above - b.above) };
};

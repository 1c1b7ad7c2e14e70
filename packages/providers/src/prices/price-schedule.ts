import type { Price, Rates } from '@signalbox/contracts';

/** A rate by size of the request; the last step with `above` < input tokens applies to the whole request. */
export interface RateSteps {
  /** Pico-USD per token. */
  readonly base: number;
  readonly steps: readonly { readonly above: number; readonly rate: number }[];
}

export type Schedule = { readonly [K in keyof Rates]: RateSteps };

export const flat = (rate: number): RateSteps => ({ base: rate, steps: [] });

/** A price from its schedule. */
export const priceOf = (version: string, schedule: Schedule, contextWindow: number | null): Price => ({
  version,
  contextWindow,
  ratesFor: (inputTokens) => each(schedule, (rate) => rateAt(rate, inputTokens)),
  highestRates: (inputTokens) => each(schedule, (rate) => highestUpTo(rate, inputTokens)),
});

/** Rate by rate the higher of two schedules, for when it is not known which one a call will meet. */
export const higherOf = (a: Schedule, b: Schedule): Schedule =>
  each2(a, b, (left, right) => {
    const bounds = [...left.steps, ...right.steps].map(({ above }) => above);
    const above = [...new Set(bounds)].toSorted((x, y) => x - y);
    const at = (tokens: number): number => Math.max(rateAt(left, tokens), rateAt(right, tokens));
    return { base: at(0), steps: above.map((start) => ({ above: start, rate: at(start + 1) })) };
  });

const rateAt = ({ base, steps }: RateSteps, inputTokens: number): number => {
  let rate = base;
  for (const step of steps) if (inputTokens > step.above) rate = step.rate;
  return rate;
};

const highestUpTo = ({ base, steps }: RateSteps, inputTokens: number): number => {
  let rate = base;
  for (const step of steps) if (inputTokens > step.above) rate = Math.max(rate, step.rate);
  return rate;
};

const each = (schedule: Schedule, rate: (steps: RateSteps) => number): Rates => ({
  input: rate(schedule.input),
  output: rate(schedule.output),
  cacheRead: rate(schedule.cacheRead),
  cacheWrite: rate(schedule.cacheWrite),
});

const each2 = (a: Schedule, b: Schedule, merge: (a: RateSteps, b: RateSteps) => RateSteps): Schedule => ({
  input: merge(a.input, b.input),
  output: merge(a.output, b.output),
  cacheRead: merge(a.cacheRead, b.cacheRead),
  cacheWrite: merge(a.cacheWrite, b.cacheWrite),
});

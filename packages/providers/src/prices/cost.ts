import { MAX_NANO, type Nano, picoToNano, type Price, type Rates, type Usage } from '@signalbox/contracts';

/**
 * Money of one model call, exact: pico-USD sums as BigInt, rounded up once to nano-USD. `worstCaseNano` is
 * what is held before the call and is never below `costNano` of what the call can use (R1).
 */

export interface CallBound {
  /** Upper bound of all input tokens. */
  readonly inputBound: number;
  readonly maxOutputTokens: number;
}

const NANO_IN_PICO = 1000n;

/** What this usage costs. Cache reads and writes are part of `input_tokens`. */
export const costNano = (usage: Usage, price: Price): Nano => {
  const cached = usage.cache_read_tokens + usage.cache_write_tokens;
  const inputTokens = Math.max(usage.input_tokens, cached);
  const rates = price.ratesFor(inputTokens);
  return picoToNano(
    times(inputTokens - cached, rates.input) +
      times(usage.cache_read_tokens, rates.cacheRead) +
      times(usage.cache_write_tokens, rates.cacheWrite) +
      times(usage.output_tokens, rates.output),
  );
};

/** The most a call within this bound can cost, whatever tier or cache rate it meets. */
export const worstCaseNano = ({ inputBound, maxOutputTokens }: CallBound, price: Price): Nano => {
  const rates = price.highestRates(inputBound);
  return picoToNano(times(inputBound, highestInput(rates)) + times(maxOutputTokens, rates.output));
};

/**
 * The largest `maxOutputTokens` whose worst case fits into `roomNano`; 0 when not even the input fits.
 * `Number.MAX_SAFE_INTEGER` when output costs nothing.
 */
export const affordableOutputTokens = (roomNano: Nano, inputBound: number, price: Price): number => {
  const rates = price.highestRates(inputBound);
  const left = BigInt(Math.min(roomNano, MAX_NANO)) * NANO_IN_PICO - times(inputBound, highestInput(rates));
  if (left < 0n) return 0;
  return rates.output === 0 ? Number.MAX_SAFE_INTEGER : Number(left / BigInt(rates.output));
};

const times = (tokens: number, picoPerToken: number): bigint => BigInt(tokens) * BigInt(picoPerToken);

const highestInput = ({ input, cacheRead, cacheWrite }: Rates): number =>
  Math.max(input, cacheRead, cacheWrite);

/** Pico-USD per token in one USD per million tokens. */
const DECIMALS = 6;

/**
 * Integer pico-USD per token of a rate in USD per million tokens, from its decimal digits: no binary
 * fraction comes in between. Digits below one pico-USD are rounded up. Throws on a negative or infinite rate.
 */
export const picoOf = (usdPerMtok: number): number => {
  const parts = /^(\d+)(?:\.(\d+))?(?:e([+-]\d+))?$/.exec(String(usdPerMtok));
  if (parts === null)
    throw new RangeError(`a price must be a number of USD per million tokens, not ${usdPerMtok}`);
  const [, whole = '0', fraction = '', exponent = '0'] = parts;
  const digits = BigInt(whole + fraction);
  const shift = DECIMALS + Number(exponent) - fraction.length;
  if (shift >= 0) return Number(digits * 10n ** BigInt(shift));
  const divisor = 10n ** BigInt(-shift);
  return Number((digits + divisor - 1n) / divisor);
};

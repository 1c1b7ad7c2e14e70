const NANO_DIGITS = 9;
const NANO_PER_USD = 10 ** NANO_DIGITS;
/** Above this, nano-USD would no longer be exact in a double (Lua, JSON). */
const MAX_USD = 9_000_000;

/**
 * A decimal amount in USD ("20", "0.29") as integer nano-USD, exact: no float takes part in the fraction.
 * undefined if it is not plain decimal notation (no sign, no exponent), finer than a nano-USD, or above 9,000,000 USD.
 */
export function parseUsd(text: string): number | undefined {
  const match = /^(\d{1,16})(?:\.(\d{1,9}))?$/.exec(text);
  if (match === null) return undefined;
  const [, whole = '', fraction = ''] = match;
  const nano = Number(whole) * NANO_PER_USD + Number(fraction.padEnd(NANO_DIGITS, '0'));
  return nano <= MAX_USD * NANO_PER_USD ? nano : undefined;
}

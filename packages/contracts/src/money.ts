import { z } from 'zod';

/** Integer nano-USD (1 USD = 1e9). Safe as a JS and as a Lua number up to `MAX_NANO`. */
export type Nano = number;

const NANO_PER_USD = 1_000_000_000;

/** 9,000,000 USD: above it a Lua double loses single nano-USD, so no cap may be larger. */
export const MAX_NANO: Nano = 9_000_000 * NANO_PER_USD;

/** USD of an amount, for JSON. Division of two integers rounds once, so 2_100_000 shows as 0.0021. */
export const toUsd = (nano: Nano): number => nano / NANO_PER_USD;

/** Nearest nano-USD of a USD amount from JSON. */
export const fromUsd = (usd: number): Nano => Math.round(usd * NANO_PER_USD);

/**
 * Pico-USD to nano-USD, rounded up: a price is never rounded in favour of overspending. At most `MAX_NANO`, which uses
 * up any cap there can be: no larger amount gets into an event or a counter.
 */
export const picoToNano = (pico: bigint): Nano => Math.min(MAX_NANO, Number((pico + 999n) / 1000n));

/** A USD amount in JSON: 0 to 9,000,000. */
export const Usd = z.number().min(0).max(toUsd(MAX_NANO));

/** An amount that nothing is paid beyond. Rounding might raise it, so it is a whole number of nano-USD. */
export const CapUsd = Usd.refine((usd) => toUsd(fromUsd(usd)) === usd, 'expected at most 9 decimals');

export const NanoAmount = z.int().min(0);

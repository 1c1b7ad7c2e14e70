import { z } from 'zod';

/** True for unparsable text too; the check of the format reports that. */
const hasFourDigitYear = (text: string): boolean => {
  const year = new Date(text).getUTCFullYear();
  return !(year < 1 || year > 9999);
};

/**
 * A time in JSON: RFC 3339, in any zone. In UTC too its year is one of 1 to 9999: no other can be spelled there, and
 * Postgres has no year 0.
 */
export const Instant = z.iso
  .datetime({ offset: true, error: 'expected an RFC 3339 time' })
  .refine(hasFourDigitYear, 'expected a time of the years 1 to 9999 in UTC');

/** An `Instant` in UTC, to the microsecond: Postgres knows no zones beyond 16 hours and no finer times. */
export const utcOf = (instant: string): string => {
  const fraction = /\.(\d{1,6})/.exec(instant)?.[1] ?? '';
  return `${new Date(instant).toISOString().slice(0, 19)}.${fraction.padEnd(6, '0')}Z`;
};

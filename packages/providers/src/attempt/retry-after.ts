const countIn = (text: string | null | undefined): number | null =>
  text !== null && text !== undefined && /^\s*\d+(\.\d+)?\s*$/.test(text) ? Number(text) : null;

/** `retry-after-ms`, or `retry-after` in seconds or as an HTTP date. */
export const retryAfterMs = (headers: Headers | undefined, now: number): number | null => {
  const precise = countIn(headers?.get('retry-after-ms'));
  if (precise !== null) return Math.ceil(precise);
  const given = headers?.get('retry-after') ?? '';
  const seconds = countIn(given);
  if (seconds !== null) return Math.ceil(seconds * 1000);
  // Date.parse takes "-5" and "1,5" for days of 2001, and no time at all for a pause; a date names its month.
  const ms = /[a-z]{3}/i.test(given) ? Date.parse(given) - now : Number.NaN;
  return Number.isFinite(ms) ? Math.max(0, Math.ceil(ms)) : null;
};

/** Google's form of it, `34.07s`, which stands in the body of an error in the place of a header. */
export const retryDelayMs = (delay: string | null): number | null => {
  const seconds = delay?.endsWith('s') === true ? countIn(delay.slice(0, -1)) : null;
  return seconds === null ? null : Math.ceil(seconds * 1000);
};

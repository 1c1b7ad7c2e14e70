import type { Json } from '@signalbox/contracts';

const isObject = (value: Json): value is { readonly [key: string]: Json } =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

const sorted = (value: Json): Json => {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isObject(value)) return value;
  const keys = Object.keys(value).toSorted();
  return Object.fromEntries(keys.map((key) => [key, sorted(value[key] ?? null)]));
};

/** One text per value, whatever order its fields came in, so that it can be digested. */
export const canonicalJson = (value: Json): string => JSON.stringify(sorted(value));

/** What JSON.parse can return. */
export type JsonValue = string | number | boolean | null | JsonValue[] | { [key: string]: JsonValue };

/** Far above any honest document, far below what exhausts the call stack. */
const MAX_DEPTH = 512;

/**
 * Text that Postgres and UTF-8 can hold: lone surrogates and NUL become U+FFFD.
 * One such character in one row would otherwise fail the whole batch it is written with.
 */
export function wellFormed(text: string): string {
  const whole = text.toWellFormed();
  return whole.includes('\u0000') ? whole.replaceAll('\u0000', '\uFFFD') : whole;
}

/**
 * `wellFormed` for every string and key of a JSON value. Parts that need no change are returned as they are, not copied.
 * Keys that become equal merge; the last one wins. Throws RangeError beyond 512 levels.
 */
export function wellFormedDeep<T extends JsonValue>(value: T): T;
export function wellFormedDeep(value: JsonValue): JsonValue {
  return clean(value, 0);
}

function clean(value: JsonValue, depth: number): JsonValue {
  if (typeof value === 'string') return wellFormed(value);
  if (typeof value !== 'object' || value === null) return value;
  if (depth >= MAX_DEPTH) throw new RangeError(`JSON value is nested deeper than ${MAX_DEPTH} levels`);
  return Array.isArray(value) ? cleanArray(value, depth) : cleanObject(value, depth);
}

function cleanArray(items: JsonValue[], depth: number): JsonValue[] {
  let changed = false;
  const cleaned = items.map((item) => {
    const result = clean(item, depth + 1);
    changed ||= result !== item;
    return result;
  });
  return changed ? cleaned : items;
}

function cleanObject(object: { [key: string]: JsonValue }, depth: number): { [key: string]: JsonValue } {
  let changed = false;
  const entries = Object.entries(object).map(([key, item]): [string, JsonValue] => {
    const name = wellFormed(key);
    const result = clean(item, depth + 1);
    changed ||= name !== key || result !== item;
    return [name, result];
  });
  // fromEntries defines own properties, so a "__proto__" key stays data.
  return changed ? Object.fromEntries(entries) : object;
}

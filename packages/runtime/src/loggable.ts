/** Takes secrets out of a text. */
export type Redact = (text: string) => string;

const MAX_DEPTH = 8;
const MAX_ITEMS = 200;

/**
 * Any value as plain JSON with every text redacted: errors with their stack and cause, no bytes (they may be keys),
 * cycles and depth cut. Throws what a getter, `toJSON` or `redact` throws.
 */
export function toLoggable(value: unknown, redact: Redact): unknown {
  return plain(value, redact, []);
}

function plain(value: unknown, redact: Redact, parents: readonly object[]): unknown {
  if (typeof value === 'string') return redact(value);
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'object' && value !== null) return plainObject(value, redact, parents);
  return typeof value === 'function' || typeof value === 'symbol' ? undefined : value;
}

function plainObject(value: object, redact: Redact, parents: readonly object[]): unknown {
  if (parents.includes(value)) return '[circular]';
  if (parents.length >= MAX_DEPTH) return '[too deep]';
  const path = [...parents, value];
  if (value instanceof Error) return plainError(value, redact, path);
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if ('toJSON' in value && typeof value.toJSON === 'function') return plain(value.toJSON(), redact, path);
  if (value instanceof Map) return plainObject(Object.fromEntries(value), redact, path);
  if (Array.isArray(value) || value instanceof Set) {
    return Array.from<unknown>(value)
      .slice(0, MAX_ITEMS)
      .map((item) => plain(item, redact, path));
  }
  const entries = Object.entries(value).slice(0, MAX_ITEMS);
  return Object.fromEntries(entries.map(([key, item]) => [redact(key), plain(item, redact, path)]));
}

/** Only what is named here: other properties of an error often hold a whole request, with its credentials. */
function plainError(error: Error, redact: Redact, path: readonly object[]): unknown {
  const { code, errors } = error as { code?: unknown; errors?: unknown };
  return {
    type: error.name,
    message: redact(error.message),
    ...(error.stack !== undefined && { stack: redact(error.stack) }),
    ...((typeof code === 'string' || typeof code === 'number') && { code: plain(code, redact, path) }),
    ...(error.cause !== undefined && { cause: plain(error.cause, redact, path) }),
    ...(Array.isArray(errors) && { errors: plain(errors, redact, path) }),
  };
}

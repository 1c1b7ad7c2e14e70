const MAX_DEPTH = 8;
const MAX_ITEMS = 200;

/**
 * Any value as plain JSON: errors with their cause, and with their stack unless they pass by themselves; no bytes (they
 * may be keys), cycles and depth cut.
 * Throws what a getter or `toJSON` throws.
 */
export function toLoggable(value: unknown): unknown {
  return plain(value, []);
}

function plain(value: unknown, parents: readonly object[]): unknown {
  if (typeof value === 'string') return value;
  if (typeof value === 'bigint') return String(value);
  if (typeof value === 'object' && value !== null) return plainObject(value, parents);
  return typeof value === 'function' || typeof value === 'symbol' ? undefined : value;
}

function plainObject(value: object, parents: readonly object[]): unknown {
  if (parents.includes(value)) return '[circular]';
  if (parents.length >= MAX_DEPTH) return '[too deep]';
  const path = [...parents, value];
  if (value instanceof Error) return plainError(value, path);
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if ('toJSON' in value && typeof value.toJSON === 'function') return plain(value.toJSON(), path);
  if (value instanceof Map) return plainObject(Object.fromEntries(value), path);
  if (Array.isArray(value) || value instanceof Set) {
    return Array.from<unknown>(value)
      .slice(0, MAX_ITEMS)
      .map((item) => plain(item, path));
  }
  const entries = Object.entries(value).slice(0, MAX_ITEMS);
  return Object.fromEntries(entries.map(([key, item]) => [key, plain(item, path)]));
}

/** What says of itself that it passes, and what the network did: no place in our code has to be looked at for it. */
const isPassing = (error: object): boolean =>
  error instanceof Error && (('retryable' in error && error.retryable === true) || 'syscall' in error);

/** Only what is named here: other properties of an error often hold a whole request, with its credentials. */
function plainError(error: Error, path: readonly object[]): unknown {
  const { code, errors } = error as { code?: unknown; errors?: unknown };
  return {
    type: error.name,
    message: error.message,
    // Nor for their causes.
    ...(error.stack !== undefined && !path.some(isPassing) && { stack: error.stack }),
    ...((typeof code === 'string' || typeof code === 'number') && { code: plain(code, path) }),
    ...(error.cause !== undefined && { cause: plain(error.cause, path) }),
    ...(Array.isArray(errors) && { errors: plain(errors, path) }),
  };
}

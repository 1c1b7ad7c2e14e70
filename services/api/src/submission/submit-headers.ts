import type { ApiContext } from '../deps.ts';
import { readsHeader } from '../http/header-parameter.ts';
import { invalidRequest } from '../http/validation.ts';

/** What a submission says beside its body. */

const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/;
const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

export const TAKES_IDEMPOTENCY_KEY = readsHeader('Idempotency-Key', {
  pattern: IDEMPOTENCY_KEY,
  description: 'Sent again with the same body, the request gives what it gave before.',
});

/** Throws `invalid_request`. */
export const idempotencyKey = (c: ApiContext): string | null => {
  const key = c.req.header('idempotency-key');
  if (key === undefined) return null;
  if (IDEMPOTENCY_KEY.test(key)) return key;
  throw invalidRequest([{ path: 'Idempotency-Key', message: 'expected 1 to 255 visible ASCII characters' }]);
};

/** A malformed one is as none. */
export const traceparent = (c: ApiContext): string | null => {
  const header = c.req.header('traceparent');
  return header !== undefined && TRACEPARENT.test(header) ? header : null;
};

import { ERROR_CODES, type ErrorCode, ERRORS, SignalboxError } from '@signalbox/contracts';
import type { Logger } from '@signalbox/runtime';
import { HTTPException } from 'hono/http-exception';
import type { ContentfulStatusCode } from 'hono/utils/http-status';
import { tryDecodeURIComponent } from 'hono/utils/url';
import { z } from 'zod';
import type { ApiContext } from '../deps.ts';

/** The body of every answer that is an error (RFC 9457, and the `error` object SDKs of model vendors read). */
export const Problem = z.object({
  type: z.string(),
  title: z.string(),
  status: z.int(),
  code: z.enum(ERROR_CODES),
  detail: z.string(),
  errors: z.array(z.object({ path: z.string(), message: z.string() })).optional(),
  error: z.object({ message: z.string(), type: z.string(), code: z.string(), param: z.string().nullable() }),
});
export type Problem = z.infer<typeof Problem>;

/** True of every route: a reply may be lost, and one store may have taken a change before the other failed. */
const SEND_AGAIN =
  'A change may or may not have been made: send the request again, with the same Idempotency-Key if it had one.';

/** What we say where the true message could tell of our insides. */
const DISCREET: Partial<Record<ErrorCode, string>> = {
  internal: 'The request could not be answered. Give the X-Request-Id of this answer to the operator.',
  state_unavailable: `Run state cannot be reached at the moment. ${SEND_AGAIN}`,
  audit_store_unavailable: `The audit store cannot be reached at the moment. ${SEND_AGAIN}`,
};

const VENDOR_TYPES: Record<number, string> = {
  401: 'authentication_error',
  403: 'permission_error',
  404: 'not_found_error',
  409: 'conflict_error',
};

const vendorType = (status: number): string =>
  VENDOR_TYPES[status] ?? (status >= 500 ? 'api_error' : 'invalid_request_error');

export const toProblem = (error: SignalboxError): Problem => {
  const { code, status, errors } = error;
  const detail = DISCREET[code] ?? error.message;
  return {
    type: `urn:signalbox:error:${code}`,
    title: ERRORS[code].title,
    status,
    code,
    detail,
    ...(errors === undefined ? {} : { errors: [...errors] }),
    error: { message: detail, type: vendorType(status), code, param: errors?.[0]?.path ?? null },
  };
};

/**
 * What Node says of a request whose client went away in the middle of its body: no fault of ours, and nobody reads on.
 */
const brokeOff = (error: unknown): boolean =>
  error instanceof Error && error.message === 'aborted' && 'code' in error && error.code === 'ECONNRESET';

const toSignalboxError = (error: unknown): SignalboxError => {
  if (error instanceof SignalboxError) return error;
  if (brokeOff(error)) {
    return new SignalboxError('invalid_json', 'The body broke off before its end.', { cause: error });
  }
  if (error instanceof HTTPException && error.status === 400) {
    return new SignalboxError('invalid_json', 'The body is not JSON.', { cause: error });
  }
  return new SignalboxError('internal', 'unexpected error', { cause: error });
};

export const headersOf = (error: SignalboxError): Record<string, string> => {
  const headers: Record<string, string> = {
    'content-type': 'application/problem+json',
    'cache-control': 'no-store',
  };
  // Its body may not be read to the end, so the connection cannot be used again: say so before it is cut.
  if (error.status === 413) headers['connection'] = 'close';
  if (error.status === 401) headers['www-authenticate'] = 'Bearer realm="signalbox"';
  const wait = error.retryAfter ?? (error.status === 503 ? 1 : undefined);
  if (wait !== undefined) headers['retry-after'] = String(Math.ceil(wait));
  return headers;
};

/** The error as our catalogue knows it. What is our fault is logged with the request's id. */
export const reportError = (c: ApiContext, thrown: unknown, logger: Logger): SignalboxError => {
  const error = toSignalboxError(thrown);
  if (error.status >= 500) {
    // Spelled out: redaction knows no address of a person in percent signs (R13).
    const path = tryDecodeURIComponent(c.req.path);
    const fields = { request_id: c.get('requestId'), method: c.req.method, path, error };
    if (error.code === 'internal') logger.error('request failed', fields);
    else logger.warn('request not served', fields);
  }
  return error;
};

/** The one place where an error becomes an answer. */
export const answerProblem = (c: ApiContext, thrown: unknown, logger: Logger): Response => {
  const error = reportError(c, thrown, logger);
  return c.body(JSON.stringify(toProblem(error)), error.status as ContentfulStatusCode, headersOf(error));
};

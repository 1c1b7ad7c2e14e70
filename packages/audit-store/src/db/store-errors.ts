import { SignalboxError } from '@signalbox/contracts';
import { messageOf } from '@signalbox/runtime';

/** SQLSTATE of an error Postgres sent; null for anything else. */
export const sqlState = (error: unknown): string | null => {
  if (!(error instanceof Error) || !('code' in error)) return null;
  // Node's own codes (EPIPE, ENOENT) may have five letters too, and no severity.
  return typeof error.code === 'string' && 'severity' in error ? error.code : null;
};

const classOf = (error: unknown): string | null => sqlState(error)?.slice(0, 2) ?? null;

/** Data exceptions, broken constraints, exceeded program limits: the row's own fault, trying again cannot help. */
export const isDataError = (error: unknown): boolean => ['22', '23', '54'].includes(classOf(error) ?? '');

/** Connection, authorisation, rollback, resources, shutdown or timeout, system: nothing is wrong with the statement. */
const PASSING = new Set(['08', '25', '28', '40', '53', '55', '57', '58']);

/** What pg says without a code when a connection fails, breaks or does not answer. */
const LOST =
  /connection terminated|timeout exceeded when trying to connect|query read timeout|not queryable|client was closed/i;

const isLost = (error: unknown): boolean => {
  if (!(error instanceof Error)) return false;
  if ('syscall' in error || LOST.test(error.message)) return true;
  return error instanceof AggregateError && error.errors.some(isLost);
};

const isUnavailable = (error: unknown): boolean =>
  PASSING.has(classOf(error) ?? '') || (sqlState(error) === null && isLost(error));

/** No statement is at fault: no connection was made, or what failed passes by itself. */
export const unavailable = (error: unknown): SignalboxError => {
  const why = messageOf(error) || 'no answer';
  return new SignalboxError('audit_store_unavailable', `Postgres cannot be used now (${why}); try again`, {
    cause: error,
    retryAfter: 1,
  });
};

/** `audit_store_unavailable` for what passes by itself; other errors as they are. */
export const storeError = (error: unknown): Error => {
  if (isUnavailable(error)) return unavailable(error);
  return error instanceof Error ? error : new Error(messageOf(error));
};

const CANCELED = '57014';

/** Whether a statement ran out of time: of what it was about there is too much, or it was locked; others may go on. */
export const ranOutOfTime = (error: unknown): boolean =>
  error instanceof SignalboxError && sqlState(error.cause) === CANCELED;

/** Runs a read or a small write, with errors as `storeError` gives them. */
export const reaching = async <T>(work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    throw storeError(error);
  }
};

import type { Clock } from './clock.ts';

/** Something was given up on. The work itself may still be going on. */
export class TimeoutError extends Error {
  override readonly name = 'TimeoutError';
  readonly code = 'ETIMEDOUT';
}

/** Settles like `work`, or rejects with a TimeoutError `ms` after the call. Does not stop the work. */
export async function withTimeout<T>(work: Promise<T>, ms: number, clock: Clock): Promise<T> {
  const done = new AbortController();
  const expired = clock.sleep(ms, done.signal).then(
    () => Promise.reject(new TimeoutError(`no answer within ${ms} ms`)),
    // The sleep was cut short because the work settled first: the race is over, nobody reads this.
    () => new Promise<never>(() => undefined),
  );
  try {
    return await Promise.race([work, expired]);
  } finally {
    done.abort();
  }
}

import { SignalboxError } from '@signalbox/contracts';
import { type Clock, pause } from '@signalbox/runtime';

/**
 * An answer that goes on for hours outlasts the check of its key at the beginning: whoever gives it asks again now and
 * then, and ends it once the key was revoked or has expired.
 */

const LOOK_EVERY_MS = 15_000;

/** A store that cannot be asked refuses nobody. */
const isRefused = async (check: () => Promise<unknown>): Promise<boolean> => {
  try {
    await check();
    return false;
  } catch (error) {
    return error instanceof SignalboxError && error.code === 'unauthenticated';
  }
};

/** Calls `onRefused` once `check` throws `unauthenticated`; looks until `over` aborts. Never rejects. */
export const watchKey = async (
  clock: Clock,
  check: () => Promise<unknown>,
  { over, onRefused }: { readonly over: AbortSignal; readonly onRefused: () => void },
): Promise<void> => {
  for (;;) {
    await pause(clock, LOOK_EVERY_MS, over);
    if (over.aborted) return;
    if (await isRefused(check)) return onRefused();
  }
};

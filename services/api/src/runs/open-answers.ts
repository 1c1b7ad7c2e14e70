import { SignalboxError } from '@signalbox/contracts';

/**
 * Each tenant's share of answers that stay open: streams of events, and waits for the end of a run. Each takes memory
 * of this process, some 100 KB, and that is everybody's. Counted per process, like the memory.
 */
export interface OpenAnswers {
  /** Throws `rate_limited`. */
  assertRoom(tenantId: string): void;
  /** Counts one. Returns what ends it, to be called once. */
  open(tenantId: string): () => void;
}

/** Far above what one tenant needs of one process, below what fills it. */
const MOST_OPEN = 2000;

const RETRY_SECONDS = 5;

export const createOpenAnswers = (most = MOST_OPEN): OpenAnswers => {
  const counts = new Map<string, number>();
  const add = (tenantId: string, n: 1 | -1): void => {
    const count = (counts.get(tenantId) ?? 0) + n;
    if (count === 0) counts.delete(tenantId);
    else counts.set(tenantId, count);
  };
  return {
    assertRoom: (tenantId) => {
      if ((counts.get(tenantId) ?? 0) < most) return;
      throw new SignalboxError(
        'rate_limited',
        `This tenant has ${most} streams and waits open. End some, or try again in ${RETRY_SECONDS} s.`,
        { retryAfter: RETRY_SECONDS },
      );
    },
    open: (tenantId) => {
      add(tenantId, 1);
      return () => add(tenantId, -1);
    },
  };
};

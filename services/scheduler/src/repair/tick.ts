import { type ActivationQueue, type Partition, repair, type Repaired } from '@signalbox/run-state';
import { type Clock, type Logger, withTimeout } from '@signalbox/runtime';
import type { RepairMetrics } from '../metrics.ts';

export interface TickDeps {
  readonly partition: Partition;
  readonly queue: ActivationQueue;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: RepairMetrics;
  /** Writes the end of an aborted run that nobody owns. */
  readonly endAborted: (runId: string) => Promise<void>;
}

const SECOND = 1000;

export const LIMITS = {
  /** Most runs of each kind per tick, so that one script call stays short. */
  limit: 200,
  /** An activation that no worker has claimed by then is given to the queue again. */
  graceMs: 10 * SECOND,
} as const;

/** The script takes this many leases at once; each may carry many runs. */
const LEASES_AT_ONCE = 10;
const QUEUE_MS = 5 * SECOND;

/** True when there may be more of the same at once. */
export const isFull = ({ timers, leases, requeued, unended }: Repaired): boolean =>
  [timers, requeued, unended.length].some((count) => count >= LIMITS.limit) || leases >= LEASES_AT_ONCE;

const endAll = async ({ endAborted, logger }: TickDeps, { unended }: Repaired): Promise<void> => {
  const end = (runId: string): Promise<void> =>
    endAborted(runId).catch((error: unknown) =>
      logger.warn('the end of an aborted run is left to its next owner', { run_id: runId, error }),
    );
  await Promise.all(unended.map(end));
};

/**
 * Gives every run without an owner its wake-up (R10): due timers, runs of dead workers, lost activations; and its end
 * to one that was asked to stop.
 * What is repaired but does not reach the queue is repaired again after the grace. Throws `state_unavailable`
 * and errors of the queue.
 */
export const tick = async (deps: TickDeps): Promise<Repaired> => {
  const { partition, queue, clock, logger, metrics } = deps;
  const repaired = await repair(partition, LIMITS);
  const { timers, leases, lost, requeued, relieved, unended, activations } = repaired;
  metrics.timers.inc(timers);
  metrics.resumes.inc({ reason: 'lease_expired' }, lost);
  metrics.requeued.inc(requeued);
  const counts = { timers, leases, lost, requeued, relieved, unended: unended.length };
  if (Object.values(counts).some((count) => count > 0)) {
    // Timers that are due are no repair: with many runs that wait, each tick finds some.
    const level = Object.values({ ...counts, timers: 0 }).some((count) => count > 0) ? 'info' : 'debug';
    logger[level]('repaired', { ...counts, activations: activations.length });
  }
  // BullMQ waits for its Redis without end; the leader must not.
  await Promise.all([withTimeout(queue.add(activations), QUEUE_MS, clock), endAll(deps, repaired)]);
  return repaired;
};

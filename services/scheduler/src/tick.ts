import { type ActivationQueue, type Partition, repair, type Repaired } from '@signalbox/run-state';
import { type Clock, type Logger, withTimeout } from '@signalbox/runtime';
import type { RepairMetrics } from './metrics.ts';

export interface TickDeps {
  readonly partition: Partition;
  readonly queue: ActivationQueue;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: RepairMetrics;
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
export const isFull = ({ timers, leases, requeued }: Repaired): boolean =>
  timers >= LIMITS.limit || requeued >= LIMITS.limit || leases >= LEASES_AT_ONCE;

/**
 * Gives every run without an owner its wake-up (R10): due timers, runs of dead workers, lost activations.
 * What is repaired but does not reach the queue is repaired again after the grace. Throws `state_unavailable`
 * and errors of the queue.
 */
export const tick = async ({ partition, queue, clock, logger, metrics }: TickDeps): Promise<Repaired> => {
  const repaired = await repair(partition, LIMITS);
  const { timers, leases, lost, requeued, relieved, activations } = repaired;
  metrics.timers.inc(timers);
  metrics.resumes.inc({ reason: 'lease_expired' }, lost);
  metrics.requeued.inc(requeued);
  if (timers + leases + lost + requeued + relieved > 0) {
    logger.info('repaired', { timers, leases, lost, requeued, relieved, activations: activations.length });
  }
  // BullMQ waits for its Redis without end; the leader must not.
  await withTimeout(queue.add(activations), QUEUE_MS, clock);
  return repaired;
};

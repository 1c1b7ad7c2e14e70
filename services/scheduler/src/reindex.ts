import { type ActivationQueue, type Partition, reindexRuns, scanHotRuns } from '@signalbox/run-state';
import { type Clock, type Counter, type Logger, pause, withTimeout } from '@signalbox/runtime';

export interface ReindexDeps {
  readonly partition: Partition;
  readonly queue: ActivationQueue;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly isLeader: () => boolean;
  readonly reindexed: Counter;
}

const SECOND = 1000;
/** Keys that one look passes, about a millisecond of Redis: of a million each is seen within the hour. */
const SCAN_COUNT = 300;
const QUEUE_MS = 5 * SECOND;
/** Redis is away, or being verified. */
const AGAIN_MS = 10 * SECOND;

/**
 * Walks all runs that are here, a few a second, and puts those back that no index leads to any more: repair would never
 * find them (R10). Ends after `stopping`. Never rejects.
 */
export const keepIndexes = async (deps: ReindexDeps, stopping: AbortSignal): Promise<void> => {
  const { partition, queue, clock, logger, isLeader, reindexed } = deps;
  let from = '0';
  const look = async (): Promise<void> => {
    const { runIds, cursor } = await scanHotRuns(partition, from, SCAN_COUNT);
    if (runIds.length > 0) {
      const { putBack, activations } = await reindexRuns(partition, runIds);
      reindexed.inc(putBack);
      if (putBack > 0) logger.error('runs that no index led to were put back', { runs: putBack });
      await withTimeout(queue.add(activations), QUEUE_MS, clock);
    }
    from = cursor;
  };
  while (!stopping.aborted) {
    let pauseMs = SECOND;
    try {
      if (isLeader()) await look();
    } catch (error) {
      logger.warn('runs could not be looked through', { error });
      pauseMs = AGAIN_MS;
    }
    await pause(clock, pauseMs, stopping);
  }
};

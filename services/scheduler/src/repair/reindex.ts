import { SignalboxError } from '@signalbox/contracts';
import {
  type Activation,
  type ActivationQueue,
  type Partition,
  type Reindexed,
  reindexRuns,
  scanHotRuns,
  setStrangeAside,
  type Verification,
} from '@signalbox/run-state';
import { type Clock, type Counter, type Logger, withTimeout } from '@signalbox/runtime';
import { keepRounds } from './rounds.ts';

export interface ReindexDeps {
  readonly partition: Partition;
  readonly queue: ActivationQueue;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly isLeader: () => boolean;
  readonly reindexed: Counter;
}

const SECOND = 1000;
/** Keys that one look of a walk without a rest passes. */
const WALK_COUNT = 1000;
/** Keys that one look passes, about a millisecond of Redis: of a million each is seen within the hour. */
const SCAN_COUNT = 300;
const QUEUE_MS = 5 * SECOND;
/** Redis is away, or being verified. */
const AGAIN_MS = 10 * SECOND;

type PageDeps = Pick<ReindexDeps, 'partition' | 'logger'>;

/** Of a page that the script breaks at each run alone: a damaged one must not hide those beside and behind it. */
const reindexApart = async (
  { partition, logger }: PageDeps,
  runIds: readonly string[],
  verification: Verification | null,
): Promise<Reindexed> => {
  let putBack = 0;
  const activations: Activation[] = [];
  for (const runId of runIds) {
    try {
      const one = await reindexRuns(partition, [runId], verification);
      putBack += one.putBack;
      activations.push(...one.activations);
    } catch (error) {
      if (error instanceof SignalboxError && error.retryable) throw error;
      logger.warn('the record of a run is damaged: nobody can go on with it', { run_id: runId, error });
    }
  }
  return { putBack, activations };
};

const reindexPage = async (
  deps: PageDeps,
  runIds: readonly string[],
  verification: Verification | null = null,
): Promise<Reindexed> => {
  try {
    return await reindexRuns(deps.partition, runIds, verification);
  } catch (error) {
    if (error instanceof SignalboxError && error.retryable) throw error;
    return reindexApart(deps, runIds, verification);
  }
};

/**
 * Within a verification: every run that no index leads to is put back. Answers how many. Throws `state_unavailable`,
 * `state_untrusted`.
 */
export const reindexAll = async (deps: PageDeps, verification: Verification): Promise<number> => {
  let putBack = 0;
  for (let from = '0'; ; ) {
    const { runIds, cursor } = await scanHotRuns(deps.partition, from, WALK_COUNT);
    if (runIds.length > 0) putBack += (await reindexPage(deps, runIds, verification)).putBack;
    if (cursor === '0') return putBack;
    from = cursor;
  }
};

/**
 * Walks all runs that are here, a few a second, and puts those back that no index leads to any more: repair would never
 * find them (R10). Looks whether a key is of another type than it should, leading or not: it may be what says who leads.
 * Ends after `stopping`. Never rejects.
 */
export const keepIndexes = (deps: ReindexDeps, stopping: AbortSignal): Promise<void> => {
  const { partition, queue, clock, logger, isLeader, reindexed } = deps;
  let [from, strangeFrom] = ['0', '0'];
  const look = async (): Promise<void> => {
    const { runIds, cursor } = await scanHotRuns(partition, from, SCAN_COUNT);
    if (runIds.length > 0) {
      const { putBack, activations } = await reindexPage(deps, runIds);
      reindexed.inc(putBack);
      if (putBack > 0) logger.error('runs that no index led to were put back', { runs: putBack });
      await withTimeout(queue.add(activations), QUEUE_MS, clock);
    }
    from = cursor;
  };
  return keepRounds(
    {
      clock,
      round: async () => {
        strangeFrom = (await setStrangeAside(partition, strangeFrom, SCAN_COUNT)).cursor;
        if (isLeader()) await look();
        return SECOND;
      },
      failed: (error) => {
        logger.warn('runs could not be looked through', { error });
        return AGAIN_MS;
      },
    },
    stopping,
  );
};

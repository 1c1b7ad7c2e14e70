import type { Partition, Tail } from '@signalbox/run-state';
import { type Clock, type Logger, pause } from '@signalbox/runtime';
import type { RunWorker } from '../worker.ts';

/**
 * How a worker learns of aborts (Abort): a hint over pub/sub, and a look at the flags of its runs every
 * second, since a hint may be lost or the channel closed to us. Neither failing stops the other. The same look
 * finds runs that the store believes to be ours and are not.
 */

export interface AbortWatchDeps {
  readonly partition: Partition;
  readonly tail: Tail;
  readonly worker: Pick<RunWorker, 'abort' | 'pollAborts' | 'pollHeld' | 'active'>;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Aborts when the process takes no new runs; those under work are watched to their end. */
  readonly stopping: AbortSignal;
}

const LOOK_EVERY_MS = 1000;
const SUBSCRIBE_AGAIN_MS = 10_000;

const subscribe = async ({
  partition,
  tail,
  worker,
  clock,
  logger,
  stopping,
}: AbortWatchDeps): Promise<void> => {
  while (!stopping.aborted) {
    try {
      await tail.watchAborts(partition, (runId) => worker.abort(runId));
      return;
    } catch (error) {
      logger.warn('abort hints refused; aborts are only polled', { error });
    }
    await pause(clock, SUBSCRIBE_AGAIN_MS, stopping);
  }
};

const poll = async ({ worker, clock, logger, stopping }: AbortWatchDeps): Promise<void> => {
  while (!stopping.aborted || worker.active > 0) {
    await worker.pollAborts().catch((error: unknown) => logger.warn('aborts not polled', { error }));
    await worker.pollHeld().catch((error: unknown) => logger.warn('held runs not polled', { error }));
    await clock.sleep(LOOK_EVERY_MS);
  }
};

/** Resolves when nothing is left to watch. Never rejects. */
export const watchAborts = async (deps: AbortWatchDeps): Promise<void> => {
  await Promise.all([subscribe(deps), poll(deps)]);
};

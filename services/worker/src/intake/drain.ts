import type { ActivationConsumer } from '@signalbox/run-state';
import { type Clock, type Logger, withTimeout } from '@signalbox/runtime';
import type { Intake } from './intake.ts';
import type { LeaseKeeper } from '../lease/lease-keeper.ts';

/**
 * The end of a worker. Nothing is fetched any more, and each run is handed over at its next step. When the
 * time for that is over, open calls are cut off, settled at what they cost, and handed over too: no run fails because
 * its worker had to go, and none waits for a lease to expire.
 */

export interface DrainDeps {
  readonly consumer: Pick<ActivationConsumer, 'pause' | 'close'>;
  readonly intake: Intake;
  readonly leases: Pick<LeaseKeeper, 'drain'>;
  /** Cuts off open calls. */
  readonly cut: AbortController;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly drainMs: number;
}

/** For what was cut off to be written. */
export const CUT_MS = 20_000;
/** With its Redis away BullMQ would wait without end; what it did not finish stalls, and its claim is refused. */
const CLOSE_MS = 3000;

export const drainWorker = async ({
  consumer,
  intake,
  leases,
  cut,
  clock,
  logger,
  drainMs,
}: DrainDeps): Promise<void> => {
  const done = new AbortController();
  const cutting = clock.sleep(drainMs, done.signal).then(
    () => {
      logger.warn('the time to drain is over: open calls are cut off');
      cut.abort(new Error('the worker stops'));
    },
    () => undefined,
  );
  // Fetching stops first, whether or not the store can be told.
  await Promise.all([consumer.pause(), leases.drain()]);
  await intake.empty();
  done.abort();
  await cutting;
  await withTimeout(consumer.close(), CLOSE_MS, clock).catch((error: unknown) =>
    logger.warn('the queue was not left in good order', { error }),
  );
};

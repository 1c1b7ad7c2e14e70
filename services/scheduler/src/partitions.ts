import { type Db, ensurePartitions } from '@signalbox/audit-store';
import type { Clock, Logger } from '@signalbox/runtime';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

/**
 * Makes the coming months' partitions of the audit log, at the start and every hour. They are made months
 * ahead, so a Postgres that is away is only logged, and asked again in a minute. Every replica does it: the
 * store lets one at a time. Ends after `stopping`. Never rejects.
 */
export const keepPartitions = async (
  { db, clock, logger }: { db: Db; clock: Clock; logger: Logger },
  stopping: AbortSignal,
): Promise<void> => {
  while (!stopping.aborted) {
    let pauseMs = HOUR;
    try {
      const made = await ensurePartitions(db, new Date(clock.now()));
      if (made > 0) logger.info('audit partitions made', { made });
    } catch (error) {
      logger.warn('audit partitions could not be made', { error });
      pauseMs = MINUTE;
    }
    await clock.sleep(pauseMs, stopping).catch(() => undefined);
  }
};

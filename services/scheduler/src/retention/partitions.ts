import { countDefaultEvents, type Db, detachPartitions, ensurePartitions } from '@signalbox/audit-store';
import type { Clock, Gauge, Logger } from '@signalbox/runtime';
import { keepRounds } from '../repair/rounds.ts';

const MINUTE = 60_000;
const HOUR = 60 * MINUTE;

export interface PartitionDeps {
  readonly db: Db;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly defaultEvents: Gauge;
  /** Of tenants that have set no period. Null: for ever. */
  readonly retentionDays: number | null;
}

const keepOnce = async ({
  db,
  clock,
  logger,
  defaultEvents,
  retentionDays,
}: PartitionDeps): Promise<void> => {
  const made = await ensurePartitions(db, new Date(clock.now()));
  if (made > 0) logger.info('audit partitions made', { made });
  const strays = await countDefaultEvents(db);
  defaultEvents.set(strays);
  if (strays > 0) {
    logger.warn('audit events had no month to go to and lie in audit_events_default', { events: strays });
  }
  for (const table of await detachPartitions(db, retentionDays)) {
    logger.info('audit partition detached: export it and drop it', { table });
  }
};

/**
 * Makes the coming months' partitions of the audit log and detaches those past their tenants' retention, at the start
 * and every hour. They are made months ahead, so a Postgres that is away is only logged, and asked again in a minute.
 * Every replica does it: the store lets one at a time. Ends after `stopping`. Never rejects.
 */
export const keepPartitions = (deps: PartitionDeps, stopping: AbortSignal): Promise<void> =>
  keepRounds(
    {
      clock: deps.clock,
      round: async () => {
        await keepOnce(deps);
        return HOUR;
      },
      failed: (error) => {
        deps.logger.warn('audit partitions could not be kept', { error });
        return MINUTE;
      },
    },
    stopping,
  );

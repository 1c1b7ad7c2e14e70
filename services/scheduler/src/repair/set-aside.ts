import { type Db, outlineRuns } from '@signalbox/audit-store';
import { SignalboxError } from '@signalbox/contracts';
import { type Partition, setAside, type Verification } from '@signalbox/run-state';
import type { Logger } from '@signalbox/runtime';

interface SetAsideDeps {
  readonly partition: Partition;
  readonly logger: Logger;
}

/**
 * Of runs that could not be put back, what is here is older than what Postgres has, or nothing: nobody must go on
 * with it (R6), and none may be forgotten (R10). The hibernation loop tries to load them from here on.
 */
export const setRunsAside = async (
  { partition, logger }: SetAsideDeps,
  { tx, verification }: { tx: Db; verification: Verification },
  runIds: readonly string[],
): Promise<void> => {
  for (const run of runIds.length === 0 ? [] : await outlineRuns(tx, runIds)) {
    try {
      await setAside(partition, verification, run);
    } catch (error) {
      // Its record is so damaged that no script reads it, so nobody goes on with it either.
      if (error instanceof SignalboxError && error.retryable) throw error;
      logger.error('a run that cannot be put back cannot be set aside either', { run_id: run.runId, error });
    }
  }
};

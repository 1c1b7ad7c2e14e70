import { type Db, isRagged } from '@signalbox/audit-store';
import { type Entry, SignalboxError } from '@signalbox/contracts';
import { bodyOf } from '@signalbox/engine';
import { assertTrusted, type Partition, readBacklog } from '@signalbox/run-state';
import { lastSeqOf } from './entries.ts';

/**
 * What Postgres lost goes there again from run state, behind what waits already (backfill.ts in the scheduler). So a run
 * may have a gap for a moment, and who reads it then must not hear that its journal is broken for good.
 */

const RETRY_AFTER_SECONDS = 1;

/** A stub of a quarantined event fills its place. */
const hasGap = (entries: readonly Entry[]): boolean =>
  lastSeqOf(entries.filter((entry) => bodyOf(entry) !== '')) > entries.length;

/** Throws `audit_behind` where events of the run may be on their way; `state_untrusted`, and what the stores throw. */
export const assertNoneOnTheWay = async (
  { partition, db }: { readonly partition: Partition; readonly db: Db },
  { runId, entries }: { readonly runId: string; readonly entries: readonly Entry[] },
): Promise<void> => {
  if (!hasGap(entries) || !(await isRagged(db, runId))) return;
  await assertTrusted(partition);
  if ((await readBacklog(partition, 0)).events === 0) return;
  throw new SignalboxError(
    'audit_behind',
    `The audit store lost events of run ${runId}, and gets them again. Try again in a moment.`,
    { retryAfter: RETRY_AFTER_SECONDS },
  );
};

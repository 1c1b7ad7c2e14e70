import { readStoredSeq } from '@signalbox/audit-store';
import { RunId, SignalboxError } from '@signalbox/contracts';
import { readSeq } from '@signalbox/run-state';
import { backoffMs, pause } from '@signalbox/runtime';
import type { ApiDeps } from '../deps.ts';

/**
 * The audit store is moments behind a run: who verifies one that has just ended means all of it, and must not hear that
 * there is no such run.
 */

export const STORED_WITHIN_SECONDS = 5;

const RETRY = { baseMs: 50, capMs: 500, random: () => 1 };

const behind = (runId: string): SignalboxError =>
  new SignalboxError(
    'audit_behind',
    `Run ${runId} is there, but nothing of it is in the audit store yet, so nothing was verified. Try again in a moment.`,
    { retryAfter: STORED_WITHIN_SECONDS },
  );

/**
 * Resolves once Postgres has what the run has done by now, or part of it and the time is over; at once when run state
 * does not know it. Throws `audit_behind`, `state_unavailable`, `audit_store_unavailable`.
 */
export const untilStored = async (
  { partition, db, clock, closing }: Pick<ApiDeps, 'partition' | 'db' | 'clock' | 'closing'>,
  { tenantId, runId }: { readonly tenantId: string; readonly runId: string },
): Promise<void> => {
  const seq = RunId.safeParse(runId).success ? await readSeq(partition, { tenantId, runId }) : null;
  if (seq === null) return;
  const deadline = clock.monotonic() + STORED_WITHIN_SECONDS * 1000;
  for (let attempt = 1; ; attempt += 1) {
    const stored = await readStoredSeq(db, tenantId, runId);
    if (stored !== null && stored >= seq) return;
    if (clock.monotonic() >= deadline || closing.aborted) {
      if (stored === null) throw behind(runId);
      return;
    }
    await pause(clock, backoffMs(attempt, RETRY), closing);
  }
};

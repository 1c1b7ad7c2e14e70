import {
  type Db,
  listLiveRuns,
  listRunHeads,
  raiseIncarnation,
  readStoredRuns,
  type StoredRunHead,
  sumSpendByDay,
  sumSpendByRoot,
  withVerificationLock,
} from '@signalbox/audit-store';
import {
  beginVerification,
  endVerification,
  loadRun,
  type Partition,
  readLiveHeads,
  readTrust,
  restoreCounters,
  type Verification,
} from '@signalbox/run-state';
import type { Clock, Logger } from '@signalbox/runtime';
import { restoreDirectory } from './directory.ts';
import { toLoadable } from './to-loadable.ts';

/**
 * Verifies run state against Postgres, so that its scripts write again (design §6, Trust). Under a lock in Postgres,
 * which no batch of the audit-writer and no other scheduler passes:
 *   1. the incarnation is raised, at once and for good: epochs never go back, and batches read before are refused
 *      even if this lock should be lost;
 *   2. keys, agents and caps are written again;
 *   3. every run whose journal is longer in Postgres than here is put back as Postgres has it;
 *   4. every counter becomes the larger of here and the ledger, holds are summed anew;
 *   5. the marker is written last, if Redis was neither restarted nor emptied meanwhile. Whatever fails before
 *      leaves everybody waiting, and it is tried again.
 * What neither Postgres nor Redis has, is gone: the commits that the lost Redis had not handed to the audit-writer.
 */
export interface VerificationDeps {
  readonly partition: Partition;
  readonly db: Db;
  readonly clock: Clock;
  readonly logger: Logger;
}

export interface Verified {
  readonly incarnation: number;
  readonly runsLoaded: number;
  readonly seconds: number;
}

const BATCH = 200;
/** A hold counts for its day and its month, so the ledger of this and the last month is enough. */
const LEDGER_DAYS = 62;
const DAY_MS = 86_400_000;

interface Work {
  readonly tx: Db;
  readonly verification: Verification;
}

const loadBehind = async (
  { partition, logger }: VerificationDeps,
  { tx, verification }: Work,
  { heads, here }: { heads: readonly StoredRunHead[]; here: ReadonlyMap<string, number> },
): Promise<number> => {
  const behind = heads.filter(({ runId, seq }) => (here.get(runId) ?? 0) < seq);
  const roots = new Map(behind.map(({ runId, rootRunId }) => [runId, rootRunId]));
  let loaded = 0;
  for (const stored of await readStoredRuns(tx, behind)) {
    try {
      const run = toLoadable(stored, roots.get(stored.runId) ?? stored.runId);
      if (run === null) logger.error('a stored run has no key any more', { run_id: stored.runId });
      else if (await loadRun(partition, verification, run)) loaded += 1;
    } catch (error) {
      if (error instanceof Error && error.name === 'SignalboxError') throw error;
      logger.error('a stored run cannot be put back', { run_id: stored.runId, error });
    }
  }
  return loaded;
};

/**
 * Runs Postgres knows as live; then runs that are live only here, since Postgres may know their end, and roots
 * of the live, whose record holds the cap of their tree.
 */
const restoreRuns = async (
  deps: VerificationDeps,
  work: Work,
): Promise<{ loaded: number; roots: Set<string> }> => {
  const { partition } = deps;
  const { tx } = work;
  const here = await readLiveHeads(partition);
  const seen = new Set<string>();
  const roots = new Set<string>(here.keys());
  let loaded = 0;
  for (let after = ''; ; ) {
    const heads = await listLiveRuns(tx, { partition: partition.index, after, limit: BATCH });
    for (const head of heads) {
      seen.add(head.runId);
      roots.add(head.rootRunId);
    }
    loaded += await loadBehind(deps, work, { heads, here });
    if (heads.length < BATCH) break;
    after = heads.at(-1)?.runId ?? '';
  }
  const rest = [...roots].filter((runId) => !seen.has(runId));
  for (let i = 0; i < rest.length; i += BATCH) {
    const heads = await listRunHeads(tx, rest.slice(i, i + BATCH));
    loaded += await loadBehind(deps, work, { heads, here });
  }
  return { loaded, roots };
};

const verify = async (deps: VerificationDeps, tx: Db): Promise<Omit<Verified, 'seconds'>> => {
  const { partition, clock, db } = deps;
  const verification = await beginVerification(partition);
  // Not in `tx`, whose end comes after the marker: a marker must never be ahead of the incarnation.
  const incarnation = await raiseIncarnation(db, partition.index);
  await restoreDirectory(partition, tx);
  const { loaded, roots } = await restoreRuns(deps, { tx, verification });
  const sinceDay = new Date(clock.now() - LEDGER_DAYS * DAY_MS).toISOString().slice(0, 10);
  await restoreCounters(partition, verification, {
    days: await sumSpendByDay(tx, { partition: partition.index, sinceDay }),
    runs: await sumSpendByRoot(tx, [...roots]),
  });
  await endVerification(partition, verification, incarnation);
  return { incarnation, runsLoaded: loaded };
};

/**
 * Null: the partition is trusted already. Throws `state_unavailable`, `state_untrusted` (Redis changed meanwhile)
 * or `audit_store_unavailable`; then nobody writes, and it is to be called again.
 */
export const verifyRunState = async (deps: VerificationDeps): Promise<Verified | null> => {
  const { partition, db, clock, logger } = deps;
  if ((await readTrust(partition)) !== null) return null;
  const startedAt = clock.monotonic();
  const verified = await withVerificationLock(db, partition.index, async (tx) =>
    // Another scheduler may have done it while this one waited for the lock.
    (await readTrust(partition)) === null ? verify(deps, tx) : null,
  );
  if (verified === null) return null;
  const seconds = (clock.monotonic() - startedAt) / 1000;
  logger.info('run state verified', {
    incarnation: verified.incarnation,
    runs_loaded: verified.runsLoaded,
    seconds,
  });
  return { ...verified, seconds };
};

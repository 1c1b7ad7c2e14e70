import {
  type Db,
  isRolledBack,
  listErased,
  listIdempotency,
  listLiveRuns,
  listRunHeads,
  pagesOf,
  settledHolds,
  raiseIncarnation,
  readProgress,
  readStoredRuns,
  type StoredIdempotency,
  type StoredRunHead,
  sumSpendByDay,
  sumSpendByRoot,
  sumUnstoredSpend,
  withVerificationLock,
} from '@signalbox/audit-store';
import { SignalboxError, type StoredRun } from '@signalbox/contracts';
import {
  beginVerification,
  endVerification,
  eraseHot,
  IDEMPOTENCY_TTL_MS,
  loadRun,
  type Partition,
  readLiveHeads,
  readStream,
  readTrust,
  type Ledger,
  readChargedHolds,
  restoreCounters,
  restoreIdempotency,
  rewriteAppendLog,
  type Verification,
} from '@signalbox/run-state';
import type { Clock, Logger } from '@signalbox/runtime';
import { backfillStore } from './backfill.ts';
import { restoreDirectory } from './directory.ts';
import { setRunsAside } from './set-aside.ts';
import { toLoadable } from './to-loadable.ts';

/**
 * Verifies run state against Postgres, so that its scripts write again (design §6, Trust). Under a lock in Postgres,
 * which no batch of the audit-writer and no other scheduler passes:
 *   1. the incarnation is raised, at once and for good: epochs never go back, and batches read before are refused
 *      even if this lock should be lost;
 *   2. keys, agents and caps are written again;
 *   3. every run whose journal is longer in Postgres than here is put back as Postgres has it, or else taken out of
 *      play: a journal that cannot be read, or that a newer version wrote, must not stop everybody else;
 *      If it is Postgres that lost what it had, it gets it again from what is here (backfill.ts);
 *   4. what was said in runs that are erased is erased here again;
 *   5. what Idempotency-Keys made which runs is written again where it is missing;
 *   6. every counter becomes the larger of here and all that is known to be spent: a tenant's counter here may
 *      lack what the ledger has of one run, and the ledger what is here of another; holds are summed anew;
 *   7. the append-only file is written anew, so that nothing half is left in it of the crash;
 *   8. the marker is written last, if Redis was neither restarted nor emptied meanwhile. Whatever fails before
 *      leaves everybody waiting, and it is tried again.
 * What neither Postgres nor Redis has, is gone: the commits that the lost Redis had not handed to the audit-writer.
 */

export interface VerificationDeps {
  readonly partition: Partition;
  readonly db: Db;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A run that has waited this long is put back as one that hibernates. */
  readonly hibernateAfterMs: number;
}

export interface Verified {
  readonly incarnation: number;
  readonly runsLoaded: number;
  /** Set aside: they could not be put back. */
  readonly runsAside: number;
  readonly seconds: number;
}

const BATCH = 200;
const IDEMPOTENCY_BATCH = 2000;
/** A hold counts for its day and its month, so the ledger of this and the last month is enough. */
const LEDGER_DAYS = 62;
const DAY_MS = 86_400_000;
/** Longer than Redis may keep a run that has ended (RUN_TTL_SECONDS is 30 days at most). */
const ERASED_DAYS = 31;

interface Work {
  readonly tx: Db;
  readonly verification: Verification;
}

interface Restored {
  readonly loaded: number;
  readonly aside: number;
}

const loadBehind = async (
  { partition, logger, clock, hibernateAfterMs }: VerificationDeps,
  { tx, verification }: Work,
  { heads, here }: { heads: readonly StoredRunHead[]; here: ReadonlyMap<string, number> },
): Promise<Restored> => {
  const behind = heads.filter(({ runId, seq }) => (here.get(runId) ?? 0) < seq);
  const roots = new Map(behind.map(({ runId, rootRunId }) => [runId, rootRunId]));
  const left = new Set(roots.keys());
  let loaded = 0;
  const putBack = async (stored: StoredRun): Promise<void> => {
    const run = toLoadable(stored, roots.get(stored.runId) ?? stored.runId);
    if (run === null) return logger.error('a stored run has no key any more', { run_id: stored.runId });
    const asleep = run.parkedMs !== null && clock.now() - run.parkedMs >= hibernateAfterMs;
    if (await loadRun(partition, verification, run, { asleep })) loaded += 1;
    left.delete(stored.runId);
  };
  for await (const page of readStoredRuns(tx, behind)) {
    for (const stored of page) {
      try {
        await putBack(stored);
      } catch (error) {
        if (error instanceof SignalboxError && error.retryable) throw error;
        logger.error('a stored run cannot be put back', { run_id: stored.runId, error });
      }
    }
  }
  await setRunsAside({ partition, logger }, { tx, verification }, [...left]);
  return { loaded, aside: left.size };
};

/**
 * Runs Postgres knows as live; then runs that are live only here, since Postgres may know their end, and roots
 * of the live, whose record holds the cap of their tree.
 */
const restoreRuns = async (
  deps: VerificationDeps,
  work: Work,
): Promise<Restored & { roots: Set<string> }> => {
  const { partition } = deps;
  const { tx } = work;
  const here = await readLiveHeads(partition);
  const seen = new Set<string>();
  const roots = new Set<string>(here.keys());
  const restored = { loaded: 0, aside: 0 };
  const restore = async (heads: readonly StoredRunHead[]): Promise<void> => {
    const { loaded, aside } = await loadBehind(deps, work, { heads, here });
    restored.loaded += loaded;
    restored.aside += aside;
  };
  const live = pagesOf<StoredRunHead>(BATCH, (last) =>
    listLiveRuns(tx, { partition: partition.index, after: last?.runId ?? '', limit: BATCH }),
  );
  for await (const heads of live) {
    for (const head of heads) {
      seen.add(head.runId);
      roots.add(head.rootRunId);
    }
    await restore(heads);
  }
  const rest = [...roots].filter((runId) => !seen.has(runId));
  for (let i = 0; i < rest.length; i += BATCH) {
    await restore(await listRunHeads(tx, rest.slice(i, i + BATCH)));
  }
  return { ...restored, roots };
};

const restoreIdempotencyRecords = async ({ partition, clock }: VerificationDeps, tx: Db): Promise<void> => {
  const since = new Date(clock.now() - IDEMPOTENCY_TTL_MS);
  const limit = IDEMPOTENCY_BATCH;
  const pages = pagesOf<StoredIdempotency>(limit, (last) =>
    listIdempotency(tx, { partition: partition.index, since, after: last?.runId ?? '', limit }),
  );
  for await (const stored of pages) {
    await restoreIdempotency(
      partition,
      stored.map(({ runId, tenantId, keyDigest, fingerprint, createdAt }) => ({
        runId,
        tenantId,
        key_digest: keyDigest,
        fingerprint,
        createdMs: createdAt.getTime(),
      })),
    );
  }
};

/** What is known to be spent, wherever it is known: in the ledger, in the audit stream, or in a run here. */
const knownSpend = async (
  { partition, clock }: VerificationDeps,
  tx: Db,
  roots: ReadonlySet<string>,
): Promise<Ledger> => {
  const sinceDay = new Date(clock.now() - LEDGER_DAYS * DAY_MS).toISOString().slice(0, 10);
  const days = await sumSpendByDay(tx, { partition: partition.index, sinceDay });
  const runs = await sumSpendByRoot(tx, [...roots]);
  const add = (root: string, nano: number): void => void runs.set(root, (runs.get(root) ?? 0) + nano);
  const unstored = await sumUnstoredSpend(tx, readStream(partition, BATCH));
  for (const [root, nano] of unstored.runs) add(root, nano);
  const charged = (await readChargedHolds(partition)).filter(({ holdId }) => !unstored.settled.has(holdId));
  const settled = await settledHolds(
    tx,
    charged.map(({ holdId }) => holdId),
  );
  const only = charged.filter(({ holdId }) => !settled.has(holdId));
  for (const { rootRunId, nano } of only) add(rootRunId, nano);
  const onlyHere = only.map(({ tenantId, userId, day, nano }) => ({
    tenantId,
    userId,
    day,
    spentNano: nano,
  }));
  return { days: [...days, ...unstored.days, ...onlyHere], runs };
};

const verify = async (deps: VerificationDeps, tx: Db): Promise<Omit<Verified, 'seconds'>> => {
  const { partition, clock, db, logger } = deps;
  const verification = await beginVerification(partition);
  const stored = await readProgress(tx, partition.index);
  // Not in `tx`, whose end comes after the marker: a marker must never be ahead of the incarnation.
  const incarnation = await raiseIncarnation(db, partition.index, verification.seen.incarnation);
  await restoreDirectory(partition, tx);
  const { loaded, aside, roots } = await restoreRuns(deps, { tx, verification });
  if (isRolledBack(stored, verification.seen)) await backfillStore(deps, { tx, verification });
  const erased = listErased(tx, new Date(clock.now() - ERASED_DAYS * DAY_MS));
  for await (const page of erased) await eraseHot(partition, page);
  await restoreIdempotencyRecords(deps, tx);
  await restoreCounters(partition, verification, await knownSpend(deps, tx, roots));
  const rewrite = await rewriteAppendLog(partition, clock);
  if (rewrite === 'refused' || rewrite === 'slow') {
    logger.warn('the append-only file of Redis was not written anew: start BGREWRITEAOF by hand', {
      rewrite,
    });
  }
  await endVerification(partition, verification, { incarnation, batches: stored.batches });
  return { incarnation, runsLoaded: loaded, runsAside: aside };
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
    runs_aside: verified.runsAside,
    seconds,
  });
  return { ...verified, seconds };
};

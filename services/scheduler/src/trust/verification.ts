import {
  type Db,
  isRolledBack,
  listErased,
  listIdempotency,
  pagesOf,
  raiseIncarnation,
  readProgress,
  type StoredIdempotency,
  withVerificationLock,
} from '@signalbox/audit-store';
import {
  beginVerification,
  endVerification,
  eraseHot,
  IDEMPOTENCY_TTL_MS,
  readTrust,
  restoreCounters,
  restoreIdempotency,
  rewriteAppendLog,
  type Verification,
} from '@signalbox/run-state';
import { backfillStore } from './backfill.ts';
import { restoreDirectory } from '../repair/directory.ts';
import { knownSpend } from './known-spend.ts';
import { reindexAll } from '../repair/reindex.ts';
import { type RestoreDeps, restoreRuns } from './restore-runs.ts';

/**
 * Verifies run state against Postgres, so that its scripts write again (Trust). Under a lock in Postgres,
 * which no batch of the audit-writer and no other scheduler passes:
 *   1. the incarnation is raised, at once and for good: epochs never go back, and batches read before are refused
 *      even if this lock should be lost;
 *   2. keys, agents and caps are written again; of shared keys that were set aside (strange.lua), what led to the runs
 *      is made anew, and what was on its way to Postgres goes there once more;
 *   3. every run whose journal is longer in Postgres than here is put back as Postgres has it, or else taken out of
 *      play: a journal that cannot be read, or that a newer version wrote, must not stop everybody else.
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

export interface VerificationDeps extends RestoreDeps {
  readonly db: Db;
}

export interface Verified {
  readonly incarnation: number;
  readonly runsLoaded: number;
  /** Set aside: they could not be put back. */
  readonly runsAside: number;
  readonly seconds: number;
}

const IDEMPOTENCY_BATCH = 2000;
const DAY_MS = 86_400_000;
/** Longer than Redis may keep a run that has ended (RUN_TTL_SECONDS is 30 days at most). */
const ERASED_DAYS = 31;

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

/** What leads to the runs is made anew from their records, so that none is missed by what follows. */
const remake = async (deps: VerificationDeps, verification: Verification): Promise<void> => {
  const putBack = await reindexAll(deps, verification);
  const what =
    'keys of run state held another type than they should; they were set aside as strange:... and made anew: find out who else writes to this Redis, then delete them';
  deps.logger.error(what, { keys: verification.strange, runs: putBack });
};

const verify = async (deps: VerificationDeps, tx: Db): Promise<Omit<Verified, 'seconds'>> => {
  const { partition, clock, db, logger } = deps;
  const verification = await beginVerification(partition);
  const stored = await readProgress(tx, partition.index);
  // Not in `tx`, whose end comes after the marker: a marker must never be ahead of the incarnation.
  const incarnation = await raiseIncarnation(db, partition.index, verification.seen.incarnation);
  await restoreDirectory(partition, tx);
  if (verification.strange.length > 0) await remake(deps, verification);
  const { loaded, aside, roots } = await restoreRuns(deps, { tx, verification });
  const older = isRolledBack(stored, verification.seen);
  if (older || verification.strange.includes('audit')) {
    const what = older ? 'Postgres is older than run state' : 'the audit stream is lost';
    const again = await backfillStore(deps, { tx, verification });
    logger.error(`${what}; what run state still holds is stored again`, again);
  }
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

import { SignalboxError } from '@signalbox/contracts';
import { sql } from 'kysely';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';

/**
 * The fence between writers of the audit stream and a verification of run state (Trust). A verification
 * holds the partition's lock alone and raises the incarnation; a writer's batch shares the lock and must name the
 * incarnation it was read under. So a batch is either stored before the verification reads, and counts, or is
 * refused and read again from what Redis holds by then.
 * Each batch is counted, here in its transaction and in run state when it is acknowledged, so that a Postgres that
 * lost batches (a failover, an older copy) shows at the next one: run state has counted more.
 */

const LOCK_CLASS = 0x51b0;

/** Runs `work` while no batch of the partition is being stored and no other verification runs. */
export const withVerificationLock = <T>(
  db: Db,
  partition: number,
  work: (tx: Db) => Promise<T>,
): Promise<T> =>
  reaching(() =>
    db.transaction().execute(async (tx) => {
      await sql`select pg_advisory_xact_lock(${LOCK_CLASS}::int, ${partition}::int)`.execute(tx);
      return work(tx);
    }),
  );

/** How far run state and Postgres know of each other. Neither number ever goes down, but with what is lost. */
export interface Progress {
  readonly incarnation: number;
  /** Batches stored. */
  readonly batches: number;
}

/** What is known here of a partition. */
export const readProgress = async (db: Db, partition: number): Promise<Progress> => {
  const { rows } = await sql<Progress>`
    select n as incarnation, batches from incarnations where partition = ${partition}`.execute(db);
  return rows[0] ?? { incarnation: 0, batches: 0 };
};

/** Whether Postgres lost what it had committed: a failover to a late replica, a backup that was put back. */
export const isRolledBack = (stored: Progress, seen: Progress): boolean =>
  stored.incarnation < seen.incarnation || stored.batches < seen.batches;

/**
 * The number of this verification, higher than `above`, which run state has seen: 0 for the first. Under the lock, but
 * in a transaction of its own: it must outlive a lock that is lost.
 */
export const raiseIncarnation = async (db: Db, partition: number, above = -1): Promise<number> => {
  const { rows } = await sql<{ n: number }>`
    insert into incarnations (partition, n) values (${partition}, ${above + 1}::int)
    on conflict (partition) do update set n = greatest(incarnations.n, ${above}::int) + 1, verified_at = now()
    returning n`.execute(db);
  return rows[0]?.n ?? 0;
};

/** What run state said of itself when the batch was read. */
export interface BatchOrigin extends Progress {
  readonly partition: number;
}

/** Postgres is older than run state: nothing is stored before a verification has given it what it lacks. */
export class RolledBackError extends SignalboxError {}

/**
 * Whether what run state has seen is here. Throws `state_untrusted` when it was seen before a verification, and as
 * RolledBackError when Postgres lost batches that were acknowledged.
 */
export const checkProgress = async (db: Db, { partition, ...seen }: BatchOrigin): Promise<void> => {
  const stored = await readProgress(db, partition);
  const [now, then] = [stored.incarnation, seen.incarnation];
  if (now > then) {
    throw new SignalboxError(
      'state_untrusted',
      `A batch read under incarnation ${then} of partition ${partition} comes after ${now}: read it again.`,
    );
  }
  if (!isRolledBack(stored, seen)) return;
  throw new RolledBackError(
    'state_untrusted',
    `Postgres has ${stored.batches} batches and incarnation ${now} of partition ${partition}, and had ${seen.batches} ` +
      `and ${then}: it lost what it had committed. A verification gives it again what run state still holds.`,
  );
};

/** Within a batch's transaction, first. Throws as checkProgress does. */
export const joinIncarnation = async (tx: Db, origin: BatchOrigin): Promise<void> => {
  await sql`select pg_advisory_xact_lock_shared(${LOCK_CLASS}::int, ${origin.partition}::int)`.execute(tx);
  await checkProgress(tx, origin);
};

/** Within a batch's transaction, last: who waits here for another batch waits no longer than for its commit. */
export const countBatch = async (tx: Db, { partition }: BatchOrigin): Promise<number> => {
  const { rows } = await sql<{ batches: number }>`
    update incarnations set batches = batches + 1 where partition = ${partition} returning batches`.execute(
    tx,
  );
  return rows[0]?.batches ?? 0;
};

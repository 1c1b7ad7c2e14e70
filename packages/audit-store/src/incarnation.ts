import { SignalboxError } from '@signalbox/contracts';
import { sql } from 'kysely';
import type { Db } from './pool.ts';
import { reaching } from './store-errors.ts';

/**
 * The fence between writers of the audit stream and a verification of run state (design §6, Trust). A verification
 * holds the partition's lock alone and raises the incarnation; a writer's batch shares the lock and must name the
 * incarnation it was read under. So a batch is either stored before the verification reads, and counts, or is
 * refused and read again from what Redis holds by then.
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

/**
 * The number of this verification: 0 for the first of a database. Under the lock, but in a transaction of its
 * own: it must outlive a lock that is lost.
 */
export const raiseIncarnation = async (db: Db, partition: number): Promise<number> => {
  const { rows } = await sql<{ n: number }>`
    insert into incarnations (partition) values (${partition})
    on conflict (partition) do update set n = incarnations.n + 1, verified_at = now()
    returning n`.execute(db);
  return rows[0]?.n ?? 0;
};

export interface BatchOrigin {
  readonly partition: number;
  readonly incarnation: number;
}

/** Within a batch's transaction, first. Throws `state_untrusted` when the batch was read before a verification. */
export const joinIncarnation = async (tx: Db, { partition, incarnation }: BatchOrigin): Promise<void> => {
  await sql`select pg_advisory_xact_lock_shared(${LOCK_CLASS}::int, ${partition}::int)`.execute(tx);
  const { rows } = await sql<{
    n: number;
  }>`select n from incarnations where partition = ${partition}`.execute(tx);
  const now = rows[0]?.n ?? 0;
  if (now === incarnation) return;
  throw new SignalboxError(
    'state_untrusted',
    `A batch read under incarnation ${incarnation} of partition ${partition} comes after ${now}: read it again.`,
  );
};

import { sql } from 'kysely';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';

/** Within a transaction: until it ends nobody else changes or mirrors a cap. */
export const lockCaps = (tx: Db) =>
  sql`select pg_advisory_xact_lock(hashtext('signalbox'), hashtext('caps'))`.execute(tx);

/** Until `work` is done nobody else changes or mirrors a cap. Throws `audit_store_unavailable`. */
export const withCapsLocked = <T>(db: Db, work: (tx: Db) => Promise<T>): Promise<T> =>
  reaching(() =>
    db.transaction().execute(async (tx) => {
      await lockCaps(tx);
      return work(tx);
    }),
  );

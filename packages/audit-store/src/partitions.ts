import { sql } from 'kysely';
import type { Db } from './pool.ts';
import { reaching } from './store-errors.ts';

/** This month and the two behind it, so that a scheduler may be away for weeks. */
const MONTHS = 3;

/** Makes the coming partitions of audit_events. Answers how many were new. Throws `audit_store_unavailable`. */
export const ensurePartitions = (db: Db, now: Date): Promise<number> =>
  reaching(async () => {
    const { rows } = await sql<{ made: number }>`
      select ensure_audit_partitions(${now}::timestamptz, ${MONTHS}) as made`.execute(db);
    return rows[0]?.made ?? 0;
  });

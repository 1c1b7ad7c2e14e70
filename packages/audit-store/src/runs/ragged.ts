import { sql } from 'kysely';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';

/**
 * Whether events of a run are stored behind a gap: what fills it never came, unlike where something was taken away. Throws
 * `audit_store_unavailable`.
 */
export const isRagged = (db: Db, runId: string): Promise<boolean> =>
  reaching(async () => {
    const { rows } = await sql`
      select from runs r join audit_events e on e.run_id = r.id and e.seq > r.last_seq
      where r.id = ${runId} limit 1`.execute(db);
    return rows.length > 0;
  });

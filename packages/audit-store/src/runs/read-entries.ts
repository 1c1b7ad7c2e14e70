import type { Entry } from '@signalbox/contracts';
import { wellFormed } from '@signalbox/runtime';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';

export interface StoredEntriesQuery {
  readonly runId: string;
  /** Entries behind this seq. */
  readonly after: number;
  readonly limit: number;
}

const hasEvents = async (db: Db, tenantId: string, runId: string): Promise<boolean> => {
  const found = await db
    .selectFrom('runs')
    .innerJoin('audit_events', 'audit_events.run_id', 'runs.id')
    .select('runs.id')
    .where('runs.id', '=', runId)
    .where('runs.tenant_id', '=', tenantId)
    .limit(1)
    .executeTakeFirst();
  return found !== undefined;
};

/**
 * A page of a stored journal, in its order, without events in quarantine, of which only the hash is there. Null: no such
 * run of this tenant, or its events left with their partition. Throws `audit_store_unavailable`.
 */
export const readEntries = (db: Db, tenantId: string, query: StoredEntriesQuery): Promise<Entry[] | null> =>
  reaching(async () => {
    const runId = wellFormed(query.runId);
    if (!(await hasEvents(db, tenantId, runId))) return null;
    const rows = await db
      .selectFrom('audit_events')
      .select(['hash', 'body'])
      .where('run_id', '=', runId)
      .where('seq', '>', query.after)
      .where('body', 'is not', null)
      .orderBy('seq')
      .limit(query.limit)
      .execute();
    return rows.map(({ hash, body }) => hash + (body ?? ''));
  });

/** How many events of a run are stored; null: none, or the run is another tenant's. Throws `audit_store_unavailable`. */
export const readStoredSeq = (db: Db, tenantId: string, runId: string): Promise<number | null> =>
  reaching(async () => {
    const row = await db
      .selectFrom('runs')
      .select('last_seq')
      .where('id', '=', wellFormed(runId))
      .where('tenant_id', '=', tenantId)
      .executeTakeFirst();
    return row?.last_seq ?? null;
  });

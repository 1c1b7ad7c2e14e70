import { adminChainOf } from '@signalbox/contracts';
import { sql } from 'kysely';
import type { Db } from '../db/pool.ts';
import { AUDIT_TS, type AuditCursor, behind } from './read-audit.ts';
import { reaching } from '../db/store-errors.ts';

/** Events that one statement looks through; far below its time limit. */
const MOST_LOOKED_AT = 20_000;

interface Look extends AuditCursor {
  readonly strays: readonly string[] | null;
}

/** Null: there are no events behind this cursor. */
const lookBehind = async (
  db: Db,
  tenantId: string,
  { cursor, most }: { cursor: AuditCursor | null; most: number },
): Promise<Look | null> => {
  const { rows } = await sql<Look>`
    with look as (
      select ts, run_id, seq from audit_events
      where tenant_id = ${tenantId} and ${cursor === null ? sql`true` : behind(cursor)}
      order by ts desc, run_id desc, seq desc limit ${most}
    )
    select ${AUDIT_TS} as ts, run_id as "runId", seq, (
      select array_agg(distinct l.run_id) from look l
      where l.run_id <> ${adminChainOf(tenantId)} and not exists (
        select from runs r where r.id = l.run_id collate "C" and r.tenant_id = ${tenantId})
    ) as strays
    from look order by look.ts, run_id, seq limit 1`.execute(db);
  return rows[0] ?? null;
};

/**
 * Runs of which a tenant has events and no row, page by page: somebody took the row away, or put the events there. An
 * event is stored together with its run, so an honest system has none. Throws `audit_store_unavailable`.
 */
export async function* strayRuns(
  db: Db,
  tenantId: string,
  { mostLookedAt: most = MOST_LOOKED_AT } = {},
): AsyncGenerator<readonly string[]> {
  let cursor: AuditCursor | null = null;
  for (;;) {
    const from: AuditCursor | null = cursor;
    const look: Look | null = await reaching(() => lookBehind(db, tenantId, { cursor: from, most }));
    if (look === null) return;
    if (look.strays !== null) yield look.strays;
    cursor = look;
  }
}

import { adminChainOf } from '@signalbox/contracts';
import { wellFormed } from '@signalbox/runtime';
import { sql } from 'kysely';
import { pagesOf } from '../db/pages.ts';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';
import { behindInChains } from './chain-page.ts';
import { type AuditFilter, conditions } from './read-audit.ts';

/** An event as it was hashed. `body` null: it lies in quarantine, and only its seq and hash are known. */
export interface ExportedEvent {
  readonly run_id: string;
  readonly seq: number;
  readonly hash: string;
  readonly body: string | null;
}

/** As few statements as can be, and little in memory: an event is some hundred bytes, seldom more than some KB. */
const EVENTS_PER_PAGE = 500;
const RUNS_PER_PAGE = 200;

const pageOfChains = async (
  db: Db,
  filter: AuditFilter,
  { chains, last }: { chains: readonly string[]; last: ExportedEvent | null },
): Promise<ExportedEvent[]> => {
  const where = [...conditions(filter), behindInChains(chains, last)];
  const { rows } = await sql<ExportedEvent>`
    select run_id, seq, hash, body from audit_events where ${sql.join(where, sql` and `)}
    order by run_id, seq limit ${EVENTS_PER_PAGE}`.execute(db);
  return rows;
};

const eventsOf = (
  db: Db,
  filter: AuditFilter,
  chains: readonly string[],
): AsyncGenerator<readonly ExportedEvent[]> =>
  pagesOf<ExportedEvent>(EVENTS_PER_PAGE, (last) =>
    reaching(() => pageOfChains(db, filter, { chains, last })),
  );

const runsBehind = (db: Db, tenantId: string, after: string): Promise<string[]> =>
  reaching(async () => {
    const rows = await db
      .selectFrom('runs')
      .select('id')
      .where('tenant_id', '=', tenantId)
      .where('id', '>', after)
      .orderBy('id')
      .limit(RUNS_PER_PAGE)
      .execute();
    return rows.map(({ id }) => id);
  });

/**
 * A tenant's events chain by chain, each in its order: first the administration chain, then the runs as they were
 * made. Page by page without a transaction, so it may take hours and holds nothing. Throws `audit_store_unavailable`.
 */
export async function* exportAuditEvents(
  db: Db,
  filter: AuditFilter,
): AsyncGenerator<readonly ExportedEvent[]> {
  if (filter.runId !== undefined) return yield* eventsOf(db, filter, [wellFormed(filter.runId)]);
  yield* eventsOf(db, filter, [adminChainOf(filter.tenantId)]);
  const runs = pagesOf<string>(RUNS_PER_PAGE, (last) => runsBehind(db, filter.tenantId, last ?? ''));
  for await (const page of runs) yield* eventsOf(db, filter, page);
}

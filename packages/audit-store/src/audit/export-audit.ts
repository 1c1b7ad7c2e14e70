import { adminChainOf } from '@signalbox/contracts';
import { wellFormed } from '@signalbox/runtime';
import { sql } from 'kysely';
import { pagesOf, pagesWithin } from '../db/pages.ts';
import type { Db } from '../db/pool.ts';
import { readWithin, type RowsWithin } from '../db/read-within.ts';
import { reaching } from '../db/store-errors.ts';
import {
  behindInChains,
  type ChainPlace,
  EVENT_BYTES,
  EVENTS_PER_PAGE,
  IN_CHAINS,
  MAX_PAGE_BYTES,
} from './chain-page.ts';
import { type AuditFilter, conditions } from './read-audit.ts';

/** An event as it was hashed. `body` null: it lies in quarantine, and only its seq and hash are known. */
export interface ExportedEvent {
  readonly run_id: string;
  readonly seq: number;
  readonly hash: string;
  readonly body: string | null;
}

const RUNS_PER_PAGE = 200;

interface Look {
  readonly chains: readonly string[];
  readonly last: ChainPlace | null;
  /** No event of a higher seq. */
  readonly upTo?: number;
}

const pageOfChains = (
  db: Db,
  filter: AuditFilter,
  { chains, last, upTo }: Look,
): Promise<RowsWithin<ExportedEvent>> => {
  const where = [...conditions(filter), behindInChains(chains, last)];
  if (upTo !== undefined) where.push(sql`seq <= ${upTo}::int`);
  const found = sql`
    select run_id, seq, hash, body, ${EVENT_BYTES} from audit_events
    where ${sql.join(where, sql` and `)}
    order by ${IN_CHAINS} limit ${EVENTS_PER_PAGE}`;
  return readWithin(db, found, { order: IN_CHAINS, maxBytes: MAX_PAGE_BYTES });
};

const eventsOf = (db: Db, filter: AuditFilter, look: Look): AsyncGenerator<readonly ExportedEvent[]> =>
  pagesWithin<ExportedEvent>(EVENTS_PER_PAGE, (last) =>
    reaching(() => pageOfChains(db, filter, { ...look, last: last ?? look.last })),
  );

/** Events that one statement looks through; far below its time limit. */
const MOST_LOOKED_AT = 20_000;

const endOf = (db: Db, chain: string): Promise<number> =>
  reaching(async () => {
    const { rows } = await sql<{ seq: number | null }>`
      select max(seq) as seq from audit_events where run_id = ${chain}`.execute(db);
    return rows[0]?.seq ?? 0;
  });

/**
 * No index holds the times of a chain, and a period may lie behind millions of its events: so many are looked at at
 * once.
 */
async function* chainOf(
  db: Db,
  filter: AuditFilter,
  { chain, most }: { readonly chain: string; readonly most: number },
): AsyncGenerator<readonly ExportedEvent[]> {
  if ((filter.from ?? filter.to) === undefined)
    return yield* eventsOf(db, filter, { chains: [chain], last: null });
  const end = await endOf(db, chain);
  for (let seq = 0; seq < end; seq += most) {
    yield* eventsOf(db, filter, { chains: [chain], last: { run_id: chain, seq }, upTo: seq + most });
  }
}

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
  { mostLookedAt: most = MOST_LOOKED_AT } = {},
): AsyncGenerator<readonly ExportedEvent[]> {
  if (filter.runId !== undefined)
    return yield* chainOf(db, filter, { chain: wellFormed(filter.runId), most });
  yield* chainOf(db, filter, { chain: adminChainOf(filter.tenantId), most });
  const runs = pagesOf<string>(RUNS_PER_PAGE, (last) => runsBehind(db, filter.tenantId, last ?? ''));
  for await (const chains of runs) yield* eventsOf(db, filter, { chains, last: null });
}

import { adminChainOf, type Category } from '@signalbox/contracts';
import { wellFormed } from '@signalbox/runtime';
import { type RawBuilder, sql } from 'kysely';
import { pagesOf } from '../db/pages.ts';
import type { Db } from '../db/pool.ts';
import { readWithin } from '../db/read-within.ts';
import { reaching } from '../db/store-errors.ts';

/** The audit log of a tenant: its events over all runs, and its administration chain. */
export interface AuditFilter {
  readonly tenantId: string;
  /** A run, or the administration chain. */
  readonly runId?: string | undefined;
  readonly category?: Category | undefined;
  /** Id of who acted. */
  readonly actor?: string | undefined;
  readonly type?: string | undefined;
  /** RFC 3339; from this instant on. */
  readonly from?: string | undefined;
  /** RFC 3339; before this instant. */
  readonly to?: string | undefined;
}

/** Where a page ends; `ts` to the microsecond, as text. */
export interface AuditCursor {
  readonly ts: string;
  readonly runId: string;
  readonly seq: number;
}

export interface AuditQuery extends AuditFilter {
  readonly limit: number;
  readonly after?: AuditCursor | undefined;
}

export interface AuditRow {
  readonly event_id: string;
  readonly run_id: string;
  readonly seq: number;
  readonly epoch: number | null;
  readonly type: string;
  readonly category: Category;
  readonly ts: string;
  readonly actor: unknown;
  readonly data: unknown;
  readonly refs: unknown;
  readonly prev: string | null;
  readonly hash: string;
}

/** To the microsecond. */
export const AUDIT_TS = sql`to_char(ts at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')`;

type Condition = RawBuilder<unknown>;

const conditions = ({
  tenantId,
  runId,
  category,
  actor,
  type,
  from,
  to,
}: AuditFilter): readonly Condition[] => {
  const all: Condition[] = [sql`tenant_id = ${tenantId}`];
  if (runId !== undefined) all.push(sql`run_id = ${wellFormed(runId)}`);
  if (category !== undefined) all.push(sql`category = ${category}`);
  // Lies in a partition of its own, so no other is looked through.
  if (category === 'admin' && runId === undefined) all.push(sql`run_id = ${adminChainOf(tenantId)}`);
  if (actor !== undefined) all.push(sql`actor ->> 'id' = ${wellFormed(actor)}`);
  if (type !== undefined) all.push(sql`type = ${wellFormed(type)}`);
  if (from !== undefined) all.push(sql`ts >= ${from}::timestamptz`);
  if (to !== undefined) all.push(sql`ts < ${to}::timestamptz`);
  return all;
};

/** Of the column: `ts` alone would be the text that is answered, which no index orders. */
const order = sql`audit_events.ts desc, run_id desc, seq desc`;

/** Behind a cursor of the list that is newest first. */
export const behind = ({ ts, runId, seq }: AuditCursor): Condition =>
  sql`(ts, run_id, seq) < (${ts}::timestamptz, ${runId} collate "C", ${seq}::int)`;

const cursorAt = (row: Pick<AuditRow, 'ts' | 'run_id' | 'seq'> | undefined): AuditCursor | null =>
  row === undefined ? null : { ts: row.ts, runId: row.run_id, seq: row.seq };

/** The last event that a look through so many of the tenant's comes to; null when there are fewer. */
const endOfLook = async (db: Db, query: AuditQuery, most: number): Promise<AuditCursor | null> => {
  const { tenantId, from, to, after } = query;
  const where = [...conditions({ tenantId, from, to }), ...(after === undefined ? [] : [behind(after)])];
  const { rows } = await sql<{ ts: string; run_id: string; seq: number }>`
    select ${AUDIT_TS} as ts, run_id, seq from audit_events
    where ${sql.join(where, sql` and `)} order by ${order} offset ${most - 1} limit 1`.execute(db);
  return cursorAt(rows[0]);
};

/** No index holds these, so what is rare may lie behind millions of events. The administration is a chain by itself. */
const isSearch = ({ runId, category, actor, type }: AuditFilter): boolean =>
  runId === undefined && category !== 'admin' && (category ?? actor ?? type) !== undefined;

/** Events that one search looks through; far below the time limit of a statement. */
const MOST_LOOKED_AT = 20_000;

/** Of bodies in a page. Most have some hundred bytes, but an answer with very many tool calls has some 100 KB. */
const MAX_PAGE_BYTES = 2 * 1024 * 1024;

export interface AuditPage {
  readonly rows: readonly AuditRow[];
  /** Where a page ended that has not all that was asked for; it goes on behind. Null: it has. */
  readonly lookedTo: AuditCursor | null;
}

/**
 * A page of events: of one run or chain in their order, else newest first. One of large events ends early, and a search
 * looks at so many and no more: its page may even be empty, and there be another. Throws `audit_store_unavailable`.
 */
export const listAuditEvents = (
  db: Db,
  query: AuditQuery,
  { mostLookedAt = MOST_LOOKED_AT } = {},
): Promise<AuditPage> =>
  reaching(async () => {
    const where = [...conditions(query)];
    const { after, runId, limit } = query;
    if (after !== undefined) where.push(runId === undefined ? behind(after) : sql`seq > ${after.seq}`);
    const lookedTo = isSearch(query) ? await endOfLook(db, query, mostLookedAt) : null;
    if (lookedTo !== null) {
      const { ts, runId: last, seq } = lookedTo;
      where.push(sql`(ts, run_id, seq) >= (${ts}::timestamptz, ${last} collate "C", ${seq}::int)`);
    }
    const found = sql`
      select event_id, run_id, seq, epoch, type, category, ${AUDIT_TS} as ts, actor, data, refs, prev, hash,
        coalesce(octet_length(body), 0) as bytes
      from audit_events where ${sql.join(where, sql` and `)}
      order by ${runId === undefined ? order : sql`seq`} limit ${limit}`;
    const ordered = runId === undefined ? sql`ts desc, run_id desc, seq desc` : sql`seq`;
    const { rows, cut } = await readWithin<AuditRow>(db, found, { order: ordered, maxBytes: MAX_PAGE_BYTES });
    return { rows, lookedTo: cut ? cursorAt(rows.at(-1)) : lookedTo };
  });

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
  const where = [...conditions(filter), sql`run_id = any(${chains}::text[])`];
  const { rows } = await sql<ExportedEvent>`
    select run_id, seq, hash, body from audit_events
    where ${sql.join(where, sql` and `)} and (run_id, seq) > (${last?.run_id ?? ''} collate "C", ${last?.seq ?? 0}::int)
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

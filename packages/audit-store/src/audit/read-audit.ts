import { adminChainOf, type Category } from '@signalbox/contracts';
import { wellFormed } from '@signalbox/runtime';
import { type RawBuilder, sql } from 'kysely';
import { EVENT_BYTES, MAX_PAGE_BYTES } from './chain-page.ts';
import { type Page, pageOf } from '../db/pages.ts';
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

export const conditions = ({
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

const cursorAt = ({ ts, run_id, seq }: Pick<AuditRow, 'ts' | 'run_id' | 'seq'>): AuditCursor => ({
  ts,
  runId: run_id,
  seq,
});

/** What an index alone finds, so that a look through it is as long as it is said to be. */
const indexed = ({ tenantId, runId, category, from, to }: AuditFilter): AuditFilter => {
  if (runId !== undefined) return { tenantId, runId };
  return { tenantId, from, to, category: category === 'admin' ? category : undefined };
};

/** Behind the cursor of the query, in its order. */
const goingOn = ({ runId, after }: AuditQuery): readonly Condition[] => {
  if (after === undefined) return [];
  return [runId === undefined ? behind(after) : sql`seq > ${after.seq}`];
};

const orderOf = ({ runId }: AuditQuery): Condition => (runId === undefined ? order : sql`seq`);

/** The last event that a look through so many comes to; null when there are fewer. */
const endOfLook = async (db: Db, query: AuditQuery, most: number): Promise<AuditCursor | null> => {
  const where = [...conditions(indexed(query)), ...goingOn(query)];
  const { rows } = await sql<{ ts: string; run_id: string; seq: number }>`
    select ${AUDIT_TS} as ts, run_id, seq from audit_events
    where ${sql.join(where, sql` and `)} order by ${orderOf(query)} offset ${most - 1} limit 1`.execute(db);
  return rows[0] === undefined ? null : cursorAt(rows[0]);
};

const upTo = ({ ts, runId, seq }: AuditCursor, query: AuditQuery): Condition =>
  query.runId === undefined
    ? sql`(ts, run_id, seq) >= (${ts}::timestamptz, ${runId} collate "C", ${seq}::int)`
    : sql`seq <= ${seq}`;

/** No index holds these, so what is rare may lie behind millions of events, of a chain as of all runs. */
const isSearch = ({ runId, category, actor, type, from, to }: AuditFilter): boolean => {
  if ((actor ?? type) !== undefined) return true;
  return runId === undefined
    ? category !== undefined && category !== 'admin'
    : (category ?? from ?? to) !== undefined;
};

/** Events that one search looks through; far below the time limit of a statement. */
const MOST_LOOKED_AT = 20_000;

/**
 * A page of events: of one run or chain in their order, else newest first. One of large events ends early, and a search
 * looks at so many and no more: its page may even be empty, and there be another. Throws `audit_store_unavailable`.
 */
export const listAuditEvents = (
  db: Db,
  query: AuditQuery,
  { mostLookedAt = MOST_LOOKED_AT } = {},
): Promise<Page<AuditRow, AuditCursor>> =>
  reaching(async () => {
    const where = [...conditions(query), ...goingOn(query)];
    const lookedTo = isSearch(query) ? await endOfLook(db, query, mostLookedAt) : null;
    if (lookedTo !== null) where.push(upTo(lookedTo, query));
    const found = sql`
      select event_id, run_id, seq, epoch, type, category, ${AUDIT_TS} as ts, actor, data, refs, prev, hash,
        ${EVENT_BYTES}
      from audit_events where ${sql.join(where, sql` and `)}
      order by ${orderOf(query)} limit ${query.limit + 1}`;
    const ordered = query.runId === undefined ? sql`ts desc, run_id desc, seq desc` : sql`seq`;
    const { rows, cut } = await readWithin<AuditRow>(db, found, { order: ordered, maxBytes: MAX_PAGE_BYTES });
    const last = rows.at(-1);
    return pageOf(rows, {
      limit: query.limit,
      placeOf: cursorAt,
      lookedTo: cut && last !== undefined ? cursorAt(last) : lookedTo,
    });
  });

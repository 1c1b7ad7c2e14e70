import type { RunFilter, RunStatus } from '@signalbox/contracts';
import { wellFormed } from '@signalbox/runtime';
import { type Page, pageOf } from '../db/pages.ts';
import type { Db } from '../db/pool.ts';
import { fits } from './run-filter.ts';
import { reaching } from '../db/store-errors.ts';

type Filter = RunFilter & { readonly status?: RunStatus | undefined };

export interface RunListQuery {
  readonly tenantId: string;
  readonly filter: Filter;
  readonly limit: number;
  /** Continue behind this run (the last of the page before). */
  readonly before?: string | undefined;
}

interface Look {
  /** Newest first, one more than a page has. */
  readonly runIds: readonly string[];
  /** Where it ended when it did not look at all there is, nor found a page; it goes on behind. */
  readonly lookedTo: string | null;
}

/** Runs that one look goes through; far below the time limit of a statement. */
const MOST_LOOKED_AT = 20_000;

/** An index has each of these, by id, and none has two of them. What is likely to be the rarest first. */
const INDEXED = ['session_id', 'user_id', 'agent', 'status'] as const;

/** What an index alone finds of what is asked for. */
const waysOf = (filter: Filter): readonly Filter[] => {
  const { created_after, created_before } = filter;
  const given = INDEXED.filter((name) => filter[name] !== undefined);
  return given.map((name) => ({ [name]: filter[name], created_after, created_before }));
};

const found = (db: Db, { tenantId, before }: RunListQuery, filter: Filter) =>
  db
    .selectFrom('runs')
    .select(['id', 'status', 'agent', 'user_id', 'session_id', 'created_at'])
    .where('tenant_id', '=', tenantId)
    .where(fits(filter))
    .$if(before !== undefined, (q) => q.where('id', '<', wellFormed(before ?? '')))
    .orderBy('id', 'desc');

/** Among the newest `most` of one way: it stops where the page is full. */
const look = async (db: Db, query: RunListQuery, way: Filter, most: number): Promise<Look> => {
  const rows = await db
    .selectFrom(found(db, query, way).limit(most).as('look'))
    .select('id')
    .where(fits(query.filter))
    .orderBy('id', 'desc')
    .limit(query.limit + 1)
    .execute();
  const runIds = rows.map(({ id }) => id);
  if (runIds.length > query.limit) return { runIds, lookedTo: null };
  const last = await found(db, query, way)
    .offset(most - 1)
    .limit(1)
    .executeTakeFirst();
  return { runIds, lookedTo: last?.id ?? null };
};

/** The look that went to the end of one way or found a page, else the one that came furthest. */
const bestLook = async (db: Db, query: RunListQuery, most: number): Promise<Look> => {
  const ways = waysOf(query.filter);
  if (ways.length < 2) {
    const rows = await found(db, query, query.filter)
      .limit(query.limit + 1)
      .execute();
    return { runIds: rows.map(({ id }) => id), lookedTo: null };
  }
  const looks: Look[] = [];
  for (const way of ways) {
    const one = await look(db, query, way, most);
    if (one.lookedTo === null) return one;
    looks.push(one);
  }
  return looks.reduce((a, b) => ((b.lookedTo ?? '') < (a.lookedTo ?? '') ? b : a));
};

/**
 * A page of ids, newest first. Of two filters each may have millions of runs and both together none: a search looks at
 * so many of each and no more, so its page may be short, or empty, and there be another. Throws
 * `audit_store_unavailable`.
 */
export const listRunIds = (
  db: Db,
  query: RunListQuery,
  { mostLookedAt: most = MOST_LOOKED_AT } = {},
): Promise<Page<string, string>> =>
  reaching(async () => {
    const { runIds, lookedTo } = await bestLook(db, query, most);
    return pageOf(runIds, { limit: query.limit, placeOf: (id) => id, lookedTo });
  });

import type { ReplayFilter } from '@signalbox/contracts';
import { sql } from 'kysely';
import type { Db } from '../db/pool.ts';
import { fits } from '../runs/run-filter.ts';
import { reaching } from '../db/store-errors.ts';

export interface ReplayableQuery {
  readonly tenantId: string;
  readonly filter: Omit<ReplayFilter, 'limit'>;
  /** Continue behind this run (the last of the page before). */
  readonly before: string | null;
  readonly limit: number;
}

export interface ReplayableRun {
  readonly id: string;
  /** Of its sealed contents: what reading it takes. */
  readonly bytes: number;
}

export interface ReplayablePage {
  readonly runs: readonly ReplayableRun[];
  /** Where a look ended that did not come to the end; it goes on behind. */
  readonly lookedTo: string | null;
}

/** Runs that one look goes through; far below the time limit of a statement. */
const MOST_LOOKED_AT = 20_000;

/** Of what an index can go by, what is likely to be the rarest. */
const rarest = ({ session_id, user_id, agent, status }: ReplayableQuery['filter']) => {
  if (session_id !== undefined) return { session_id };
  if (user_id !== undefined) return { user_id };
  return agent === undefined ? { status } : { agent };
};

/** The tenant's, as far as an index alone finds them. */
const indexed = (db: Db, { tenantId, filter, before }: ReplayableQuery) => {
  const { created_after, created_before } = filter;
  return db
    .selectFrom('runs')
    .where('tenant_id', '=', tenantId)
    .where(fits({ ...rarest(filter), created_after, created_before }))
    .$if(before !== null, (q) => q.where('id', '<', before ?? ''));
};

/** The last run that a look through so many comes to; null when there are fewer. */
const endOfLook = async (db: Db, query: ReplayableQuery, most: number): Promise<string | null> => {
  const last = indexed(db, query)
    .select('id')
    .orderBy('id', 'desc')
    .offset(most - 1)
    .limit(1);
  return (await last.executeTakeFirst())?.id ?? null;
};

/**
 * Runs that have ended and are stored whole, newest first. No index holds a model, nor two of the others together, so
 * what is rare may lie behind millions of runs: it looks at so many and no more, and a page may be short, or empty, and
 * there be another. Throws `audit_store_unavailable`.
 */
export const listReplayable = (
  db: Db,
  query: ReplayableQuery,
  { mostLookedAt = MOST_LOOKED_AT }: { readonly mostLookedAt?: number | undefined } = {},
): Promise<ReplayablePage> =>
  reaching(async () => {
    const { status, agent, model, user_id } = query.filter;
    const lookedTo = await endOfLook(db, query, mostLookedAt);
    const runs = await indexed(db, query)
      .select([
        'id',
        sql<number>`(select coalesce(sum(octet_length(sealed)), 0)::bigint from contents where run_id = runs.id)`.as(
          'bytes',
        ),
      ])
      .where('status', 'in', status === undefined ? ['succeeded', 'failed', 'aborted'] : [status])
      .whereRef('status_seq', '<=', 'last_seq')
      .$if(model !== undefined, (q) => q.where('model', '=', model ?? ''))
      .where(fits({ agent, user_id }))
      .$if(lookedTo !== null, (q) => q.where('id', '>=', lookedTo ?? ''))
      .orderBy('id', 'desc')
      .limit(query.limit)
      .execute();
    return { runs, lookedTo };
  });

import type { ReplayFilter } from '@signalbox/contracts';
import { wellFormed } from '@signalbox/runtime';
import { sql } from 'kysely';
import { createdBefore, createdFrom } from './created-at.ts';
import type { Db } from './pool.ts';
import { reaching } from './store-errors.ts';

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

/** Runs that have ended and are stored whole, newest first. Throws `audit_store_unavailable`. */
export const listReplayable = (db: Db, query: ReplayableQuery): Promise<ReplayableRun[]> =>
  reaching(async () => {
    const { tenantId, filter, before, limit } = query;
    const { status, agent, model, user_id, session_id, created_after, created_before } = filter;
    return db
      .selectFrom('runs')
      .select([
        'id',
        sql<number>`(select coalesce(sum(octet_length(sealed)), 0)::bigint from contents where run_id = runs.id)`.as(
          'bytes',
        ),
      ])
      .where('tenant_id', '=', tenantId)
      .where('status', 'in', status === undefined ? ['succeeded', 'failed', 'aborted'] : [status])
      .whereRef('status_seq', '<=', 'last_seq')
      .$if(agent !== undefined, (q) => q.where('agent', '=', wellFormed(agent ?? '')))
      .$if(model !== undefined, (q) => q.where('model', '=', model ?? ''))
      .$if(user_id !== undefined, (q) => q.where('user_id', '=', wellFormed(user_id ?? '')))
      .$if(session_id !== undefined, (q) => q.where('session_id', '=', wellFormed(session_id ?? '')))
      .$if(created_after !== undefined, (q) => q.where(createdFrom(created_after ?? '')))
      .$if(created_before !== undefined, (q) => q.where(createdBefore(created_before ?? '')))
      .$if(before !== null, (q) => q.where('id', '<', before ?? ''))
      .orderBy('id', 'desc')
      .limit(limit)
      .execute();
  });

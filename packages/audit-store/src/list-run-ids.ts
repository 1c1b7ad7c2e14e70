import type { RunStatus } from '@signalbox/contracts';
import { wellFormed } from '@signalbox/runtime';
import { createdBefore, createdFrom } from './created-at.ts';
import type { Db } from './pool.ts';
import { reaching } from './store-errors.ts';

export interface RunListQuery {
  readonly tenantId: string;
  readonly status?: RunStatus | undefined;
  /** Name of an agent. */
  readonly agent?: string | undefined;
  readonly userId?: string | undefined;
  readonly sessionId?: string | undefined;
  /** RFC 3339; from this instant on. */
  readonly createdAfter?: string | undefined;
  /** RFC 3339; before this instant. */
  readonly createdBefore?: string | undefined;
  readonly limit: number;
  /** Continue behind this run (the last of the page before). */
  readonly before?: string | undefined;
}

/** Ids, newest first. Throws `audit_store_unavailable`. */
export const listRunIds = (db: Db, query: RunListQuery): Promise<string[]> =>
  reaching(async () => {
    const { tenantId, status, agent, userId, sessionId, limit, before } = query;
    const rows = await db
      .selectFrom('runs')
      .select('id')
      .where('tenant_id', '=', tenantId)
      .$if(status !== undefined, (q) => q.where('status', '=', status ?? 'queued'))
      .$if(agent !== undefined, (q) => q.where('agent', '=', wellFormed(agent ?? '')))
      .$if(userId !== undefined, (q) => q.where('user_id', '=', wellFormed(userId ?? '')))
      .$if(sessionId !== undefined, (q) => q.where('session_id', '=', wellFormed(sessionId ?? '')))
      .$if(query.createdAfter !== undefined, (q) => q.where(createdFrom(query.createdAfter ?? '')))
      .$if(query.createdBefore !== undefined, (q) => q.where(createdBefore(query.createdBefore ?? '')))
      .$if(before !== undefined, (q) => q.where('id', '<', wellFormed(before ?? '')))
      .orderBy('id', 'desc')
      .limit(limit)
      .execute();
    return rows.map((row) => row.id);
  });

import type { RunFilter, RunStatus } from '@signalbox/contracts';
import { wellFormed } from '@signalbox/runtime';
import type { Db } from '../db/pool.ts';
import { fits } from './run-filter.ts';
import { reaching } from '../db/store-errors.ts';

export interface RunListQuery {
  readonly tenantId: string;
  readonly filter: RunFilter & { readonly status?: RunStatus | undefined };
  readonly limit: number;
  /** Continue behind this run (the last of the page before). */
  readonly before?: string | undefined;
}

/** Ids, newest first. Throws `audit_store_unavailable`. */
export const listRunIds = (db: Db, { tenantId, filter, limit, before }: RunListQuery): Promise<string[]> =>
  reaching(async () => {
    const rows = await db
      .selectFrom('runs')
      .select('id')
      .where('tenant_id', '=', tenantId)
      .where(fits(filter))
      .$if(before !== undefined, (q) => q.where('id', '<', wellFormed(before ?? '')))
      .orderBy('id', 'desc')
      .limit(limit)
      .execute();
    return rows.map((row) => row.id);
  });

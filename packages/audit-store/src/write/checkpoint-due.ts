import { type RawBuilder, sql } from 'kysely';

/**
 * Marks chains as moved since their last checkpoint: the body of a CTE over `source`, rows with tenant_id, run_id and
 * seq. In the statement that moves the heads, so that no head moves unmarked.
 */
export const markDue = (source: RawBuilder<unknown>): RawBuilder<unknown> => sql`
  insert into checkpoint_due (tenant_id, run_id, seq)
  select tenant_id, run_id, seq from ${source} moved where seq > 0 order by tenant_id, run_id
  on conflict (tenant_id, run_id) do update set seq = excluded.seq`;

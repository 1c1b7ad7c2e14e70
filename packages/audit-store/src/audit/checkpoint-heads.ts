import { sql } from 'kysely';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';

/** Where the checkpoints of each tenant stand. Throws `audit_store_unavailable`. */
export const listCheckpointHeads = (db: Db): Promise<ReadonlyMap<string, number>> =>
  reaching(async () => {
    // From tenant to tenant and to the end of each through the key: it is asked each minute, and none ever leaves.
    const { rows } = await sql<{ tenant_id: string; n: number }>`
      with recursive signed (tenant_id) as (
        select min(tenant_id) from checkpoints
        union all
        select (select min(c.tenant_id) from checkpoints c where c.tenant_id > s.tenant_id)
        from signed s where s.tenant_id is not null
      )
      select s.tenant_id, (select max(c.n) from checkpoints c where c.tenant_id = s.tenant_id) as n
      from signed s where s.tenant_id is not null`.execute(db);
    return new Map(rows.map(({ tenant_id, n }) => [tenant_id, n]));
  });

/** The last checkpoint of a tenant; 0: it has none. Throws `audit_store_unavailable`. */
export const readCheckpointHead = (db: Db, tenantId: string): Promise<number> =>
  reaching(async () => {
    const { rows } = await sql<{ n: number | null }>`
      select max(n) as n from checkpoints where tenant_id = ${tenantId}`.execute(db);
    return rows[0]?.n ?? 0;
  });

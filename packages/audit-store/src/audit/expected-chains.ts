/** The chains of a tenant that a verification looks at, and what is known of each beside its events. */
import { adminChainOf } from '@signalbox/contracts';
import { wellFormed } from '@signalbox/runtime';
import { sql } from 'kysely';
import { hasLeft } from '../retention/partitions.ts';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';

export const CHAINS_PER_PAGE = 200;

/** A chain as its projection and the checkpoints say it is. */
export interface Expected {
  readonly id: string;
  /** Null: there is no run of this id. */
  readonly last_seq: number | null;
  readonly head_hash: string | null;
  /** The first event behind the head. */
  readonly beyond: number | null;
  readonly signed_seq: number;
  /** Up to where the next checkpoint is to hold it; 0: it does not have to. */
  readonly due_seq: number;
  /** Its month was detached. */
  readonly has_left: boolean;
}

export const chainsBehind = async (db: Db, tenantId: string, after: string): Promise<string[]> => {
  const { rows } = await sql<{ id: string }>`
    select id from (
      (select id from runs where tenant_id = ${tenantId} and id > ${after} order by id limit ${CHAINS_PER_PAGE})
      union
      (select distinct run_id from checkpoint_leaves
       where tenant_id = ${tenantId} and run_id > ${after} and run_id not like 'admin\\_%'
       order by run_id limit ${CHAINS_PER_PAGE})
      union
      (select run_id from checkpoint_due
       where tenant_id = ${tenantId} and run_id > ${after} and run_id not like 'admin\\_%'
       order by run_id limit ${CHAINS_PER_PAGE})
    ) chain order by id limit ${CHAINS_PER_PAGE}`.execute(db);
  return rows.map(({ id }) => id);
};

export const expectedOf = async (db: Db, tenantId: string, ids: readonly string[]): Promise<Expected[]> => {
  const { rows } = await sql<Expected>`
    select c.id, coalesce(r.last_seq, a.seq) as last_seq, a.hash as head_hash,
      (select min(e.seq) from audit_events e
       where e.run_id = c.id and e.seq > coalesce(r.last_seq, a.seq, 0)) as beyond,
      coalesce((select max(l.seq) from checkpoint_leaves l
                where l.tenant_id = ${tenantId} and l.run_id = c.id), 0) as signed_seq,
      coalesce((select d.seq from checkpoint_due d
                where d.tenant_id = ${tenantId} and d.run_id = c.id), 0) as due_seq,
      ${hasLeft(sql`c.id`)} as has_left
    from unnest(${ids}::text[]) as c (id)
    left join runs r on r.id = c.id collate "C" and r.tenant_id = ${tenantId}
    left join admin_chains a on a.tenant_id = ${tenantId} and c.id = ${adminChainOf(tenantId)}
    order by c.id collate "C"`.execute(db);
  return rows;
};

/** Whether the tenant has anything of this chain. */
export const isKnown = async (db: Db, tenantId: string, runId: string): Promise<boolean> => {
  if (runId === adminChainOf(tenantId)) return true;
  const id = wellFormed(runId);
  const { rows } = await reaching(() =>
    sql`
      select from runs where tenant_id = ${tenantId} and id = ${id}
      union all select from checkpoint_leaves where tenant_id = ${tenantId} and run_id = ${id}
      union all select from checkpoint_due where tenant_id = ${tenantId} and run_id = ${id}
      union all select from audit_events where tenant_id = ${tenantId} and run_id = ${id} limit 1`.execute(
      db,
    ),
  );
  return rows.length > 0;
};

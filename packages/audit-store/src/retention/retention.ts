/**
 * How long each tenant's events and contents are kept. Contents of a run that has ended leave by erasure.ts, one by
 * one. Events leave with their month alone (partitions.ts), when no tenant in it wants them any longer: a chain is
 * whole here, or not here at all, and so it can be verified, and nobody needs the right to delete an event.
 */
import type { Retention, RunStatus } from '@signalbox/contracts';
import { sql } from 'kysely';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';

const NONE: Retention = { content_days: null, event_days: null };

/** What a tenant has set. Throws `audit_store_unavailable`. */
export const readRetention = (db: Db, tenantId: string): Promise<Retention> =>
  reaching(async () => {
    const row = await db
      .selectFrom('retention')
      .select(['content_days', 'event_days'])
      .where('tenant_id', '=', tenantId)
      .executeTakeFirst();
    return row ?? NONE;
  });

/**
 * Stores what `change` makes of a tenant's periods; of two changes at once the later one sees the earlier. What
 * `change` throws, changes nothing. Throws `audit_store_unavailable`.
 */
export const changeRetention = (
  db: Db,
  { tenantId, by }: { readonly tenantId: string; readonly by: string },
  change: (before: Retention) => Promise<Retention>,
): Promise<Retention> =>
  reaching(() =>
    db.transaction().execute(async (tx) => {
      await tx
        .insertInto('retention')
        .values({ tenant_id: tenantId })
        .onConflict((conflict) => conflict.column('tenant_id').doNothing())
        .execute();
      const before = await tx
        .selectFrom('retention')
        .select(['content_days', 'event_days'])
        .where('tenant_id', '=', tenantId)
        .forUpdate()
        .executeTakeFirstOrThrow();
      const after = await change(before);
      await tx
        .updateTable('retention')
        .set({ ...after, changed_by: by, changed_at: sql<Date>`now()` })
        .where('tenant_id', '=', tenantId)
        .execute();
      return after;
    }),
  );

export interface TenantRetention extends Retention {
  readonly tenantId: string;
}

interface TenantRow extends Retention {
  readonly tenant_id: string;
}

/**
 * What those tenants of a partition have set that have contents of runs that have ended. Throws
 * `audit_store_unavailable`.
 */
export const listRetention = (db: Db, partition: number): Promise<TenantRetention[]> =>
  reaching(async () => {
    // From tenant to tenant through the index of what is kept, however much each has.
    const { rows } = await sql<TenantRow>`
      with recursive keeping (tenant_id) as (
        select min(tenant_id) from runs where finished_at is not null and not content_erased
        union all
        select (
          select min(r.tenant_id) from runs r
          where r.finished_at is not null and not r.content_erased and r.tenant_id > k.tenant_id
        ) from keeping k where k.tenant_id is not null
      )
      select k.tenant_id, own.content_days, own.event_days
      from keeping k
      left join retention own on own.tenant_id = k.tenant_id
      left join tenants t on t.id = k.tenant_id
      where k.tenant_id is not null and coalesce(t.partition, 0) = ${partition}
      order by k.tenant_id`.execute(db);
    return rows.map(({ tenant_id, ...own }) => ({ tenantId: tenant_id, ...own }));
  });

export interface EndedRun {
  readonly runId: string;
  readonly status: RunStatus;
  readonly finishedAt: Date;
}

interface EndedRow {
  readonly id: string;
  readonly status: RunStatus;
  readonly finished_at: Date;
}

/**
 * Runs of a tenant that have ended, are not erased and not under legal hold; those that ended first. Throws
 * `audit_store_unavailable`.
 */
export const listKeptContents = (db: Db, tenantId: string, limit: number): Promise<EndedRun[]> =>
  reaching(async () => {
    // Whether all is held is asked once, not of each run: a scan that rejects every row would end only behind the last.
    const { rows } = await sql<EndedRow>`
      select r.id, r.status, r.finished_at from runs r
      where r.tenant_id = ${tenantId} and r.finished_at is not null and not r.content_erased
        and not exists (select from legal_holds h where h.tenant_id = ${tenantId} and h.run_id = '')
        and not exists (select from legal_holds h where h.tenant_id = ${tenantId} and h.run_id = r.id)
      order by r.finished_at, r.id limit ${limit}`.execute(db);
    return rows.map(({ id, status, finished_at }) => ({ runId: id, status, finishedAt: finished_at }));
  });

import type { FirstBad } from '@signalbox/engine';
import { sql } from 'kysely';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';

/** `run_id` under which the costs of a bad day are named; there is no seq. */
export const DAILY_COSTS = 'daily_costs';

interface DayRow {
  readonly day: string;
  /** A sum of it is not that of its calls. */
  readonly is_off: boolean;
  /** A call of it is of no run of this tenant. */
  readonly is_stray: boolean;
}

/** The first day behind this one. */
const dayBehind = async (db: Db, tenantId: string, after: string): Promise<DayRow | null> => {
  const { rows } = await sql<DayRow>`
    with next as (
      select least(
        (select min(day) from cost_ledger where tenant_id = ${tenantId} and day > ${after}::date),
        (select min(day) from daily_costs where tenant_id = ${tenantId} and day > ${after}::date)) as day
    ), calls as materialized (
      select l.* from cost_ledger l, next where l.tenant_id = ${tenantId} and l.day = next.day
    ), told as (
      select coalesce(user_id, '') as user_id, coalesce(agent, '') as agent, model,
        coalesce(sum(observed_nano), 0) as observed_nano, count(*) filter (where completed) as calls
      from calls group by 1, 2, 3
    ), sums as (
      select d.* from daily_costs d, next where d.tenant_id = ${tenantId} and d.day = next.day
    )
    select day::text, exists (
      select from told full join sums using (user_id, agent, model)
      where coalesce(told.observed_nano, 0) <> coalesce(sums.observed_nano, 0)
        or coalesce(told.calls, 0) <> coalesce(sums.calls, 0)
    ) as is_off, exists (
      select from calls where not exists (
        select from runs r where r.id = calls.run_id and r.tenant_id = ${tenantId})
    ) as is_stray
    from next where day is not null`.execute(db);
  return rows[0] ?? null;
};

/**
 * Whether what each day cost is what its calls cost, day by day: a writer changes both at once. Throws
 * `audit_store_unavailable`.
 */
export const verifyDays = async (db: Db, tenantId: string): Promise<FirstBad | null> => {
  for (let after = '-infinity'; ; ) {
    const from = after;
    const found: DayRow | null = await reaching(() => dayBehind(db, tenantId, from));
    if (found === null) return null;
    const { day, is_off, is_stray } = found;
    const bad = (why: string): FirstBad => ({ run_id: DAILY_COSTS, seq: 0, why: `${day}: ${why}` });
    if (is_stray) return bad('the ledger has a call of a run that is not there');
    if (is_off) return bad('what it cost is not the sum of its calls');
    after = day;
  }
};

import { wellFormed } from '@signalbox/runtime';
import { type RawBuilder, sql } from 'kysely';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';

/** What was spent, grouped as asked: what the ledger sums up to, told by the sums that are kept of each day. */
export const COST_GROUPS = ['day', 'user_id', 'agent', 'model'] as const;
export type CostGroup = (typeof COST_GROUPS)[number];

export interface CostQuery {
  readonly tenantId: string;
  /** Each once. None: one row, the total. */
  readonly groupBy: readonly CostGroup[];
  /** First and last day, `YYYY-MM-DD` in the tenant's zone as it was then. */
  readonly from?: string | undefined;
  readonly to?: string | undefined;
  readonly limit: number;
  /** Continue behind this row: its values, in the order of `groupBy`. */
  readonly after?: readonly string[] | undefined;
}

export interface CostRow {
  /** In the order of `groupBy`; `''` where a run has no such thing. */
  readonly group: readonly string[];
  readonly observedNano: number;
  /** Of `observedNano`, what no provider confirmed. */
  readonly estimatedNano: number;
  readonly heldNano: number;
  /** Completed model calls. */
  readonly calls: number;
}

/** One order for sorting and for going on: bytes; a day before the next. */
const COLUMNS: Record<CostGroup, RawBuilder<string>> = {
  day: sql`day`,
  user_id: sql`user_id collate "C"`,
  agent: sql`agent collate "C"`,
  model: sql`model collate "C"`,
};

interface SumRow {
  readonly group: string[];
  /** numeric: text. */
  readonly observed: string;
  readonly estimated: string;
  readonly held: string;
  readonly calls: number;
}

const ofPeriod = ({ tenantId, from, to }: CostQuery) => {
  const all = [sql`tenant_id = ${tenantId}`, sql`day is not null`];
  if (from !== undefined) all.push(sql`day >= ${from}::date`);
  if (to !== undefined) all.push(sql`day <= ${to}::date`);
  return sql.join(all, sql` and `);
};

/**
 * The sums of each day, and beside them the calls that those do not tell all of: what is held, what is estimated, and a
 * call that cost nothing, which a day of its own may have no sums for.
 */
const costsOf = (query: CostQuery) => sql`
  select day, user_id, agent, model, observed_nano, 0::bigint as estimated_nano, 0::bigint as held_nano, calls
  from daily_costs where ${ofPeriod(query)}
  union all
  select day, coalesce(user_id, ''), coalesce(agent, ''), model, 0,
    case when estimated then observed_nano else 0 end, case when state = 'held' then held_nano else 0 end, 0
  from cost_ledger where (estimated or not completed) and ${ofPeriod(query)}`;

const isBehind = ({ groupBy, after }: CostQuery, columns: readonly RawBuilder<string>[]) => {
  if (after === undefined || columns.length === 0) return sql`true`;
  const values = after.map((value, i) =>
    groupBy[i] === 'day' ? sql`${value}::date` : sql`${wellFormed(value)}::text`,
  );
  return sql`(${sql.join(columns)}) > (${sql.join(values)})`;
};

/** Ascending by the groups. A settlement whose hold is not stored yet has no day and waits for it. Throws `audit_store_unavailable`. */
export const sumCosts = (db: Db, query: CostQuery): Promise<CostRow[]> =>
  reaching(async () => {
    const columns = query.groupBy.map((group) => COLUMNS[group]);
    const key =
      columns.length === 0
        ? sql`'{}'::text[]`
        : sql`array[${sql.join(columns.map((column) => sql`${column}::text`))}]`;
    const grouped =
      columns.length === 0
        ? sql``
        : sql`group by ${sql.join(columns)} order by ${sql.join(columns)} limit ${query.limit}`;
    const { rows } = await sql<SumRow>`
      select ${key} as group,
        coalesce(sum(observed_nano), 0)::text as observed,
        coalesce(sum(estimated_nano), 0)::text as estimated,
        coalesce(sum(held_nano), 0)::text as held,
        coalesce(sum(calls), 0)::bigint as calls
      from (${costsOf(query)}) costs where ${isBehind(query, columns)} ${grouped}`.execute(db);
    return rows.map(({ group, observed, estimated, held, calls }) => ({
      group,
      observedNano: Number(observed),
      estimatedNano: Number(estimated),
      heldNano: Number(held),
      calls,
    }));
  });

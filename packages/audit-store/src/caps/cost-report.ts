import { wellFormed } from '@signalbox/runtime';
import { type RawBuilder, sql } from 'kysely';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';

/** What was spent, from the ledger: sums over calls, grouped as asked. */
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

/** One order for sorting and for going on: bytes. */
const COLUMNS: Record<CostGroup, RawBuilder<string>> = {
  day: sql`day::text collate "C"`,
  user_id: sql`coalesce(user_id, '') collate "C"`,
  agent: sql`coalesce(agent, '') collate "C"`,
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

const conditions = ({ tenantId, from, to, after }: CostQuery, columns: readonly RawBuilder<string>[]) => {
  const all = [sql<boolean>`tenant_id = ${tenantId}`, sql<boolean>`day is not null`];
  if (from !== undefined) all.push(sql<boolean>`day >= ${from}::date`);
  if (to !== undefined) all.push(sql<boolean>`day <= ${to}::date`);
  if (after !== undefined && columns.length > 0) {
    const cursor = sql.join(after.map((value) => sql`${wellFormed(value)}::text`));
    all.push(sql<boolean>`(${sql.join(columns)}) > (${cursor})`);
  }
  return sql.join(all, sql` and `);
};

/** Ascending by the groups. A settlement whose hold is not stored yet has no day and waits for it. Throws `audit_store_unavailable`. */
export const sumCosts = (db: Db, query: CostQuery): Promise<CostRow[]> =>
  reaching(async () => {
    const columns = query.groupBy.map((group) => COLUMNS[group]);
    const key = columns.length === 0 ? sql`'{}'::text[]` : sql`array[${sql.join(columns)}]`;
    const grouped =
      columns.length === 0
        ? sql``
        : sql`group by ${sql.join(columns)} order by ${sql.join(columns)} limit ${query.limit}`;
    const { rows } = await sql<SumRow>`
      select ${key} as group,
        coalesce(sum(observed_nano), 0)::text as observed,
        coalesce(sum(observed_nano) filter (where estimated), 0)::text as estimated,
        coalesce(sum(held_nano) filter (where state = 'held'), 0)::text as held,
        count(*) filter (where completed) as calls
      from cost_ledger where ${conditions(query, columns)} ${grouped}`.execute(db);
    return rows.map(({ group, observed, estimated, held, calls }) => ({
      group,
      observedNano: Number(observed),
      estimatedNano: Number(estimated),
      heldNano: Number(held),
      calls,
    }));
  });

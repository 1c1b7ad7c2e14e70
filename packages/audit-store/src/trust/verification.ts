import type { StoredRun } from '@signalbox/contracts';
import { sql } from 'kysely';
import type { Db } from '../db/pool.ts';
import { readRuns } from '../runs/read-runs.ts';
import { reaching } from '../db/store-errors.ts';

/** What a verification of run state reads: the runs that have not ended, journals, and sums of the ledger. */
export interface StoredRunHead {
  readonly runId: string;
  readonly tenantId: string;
  readonly rootRunId: string;
  readonly seq: number;
}

interface HeadRow {
  readonly id: string;
  readonly tenant_id: string;
  readonly root_run_id: string;
  readonly last_seq: number;
}

const toHead = (row: HeadRow): StoredRunHead => ({
  runId: row.id,
  tenantId: row.tenant_id,
  rootRunId: row.root_run_id,
  seq: row.last_seq,
});

/** Runs of a partition that have not ended, in order of id, behind `after` ('' for the first). */
export const listLiveRuns = async (
  db: Db,
  { partition, after, limit }: { partition: number; after: string; limit: number },
): Promise<StoredRunHead[]> => {
  const { rows } = await sql<HeadRow>`
    select runs.id, runs.tenant_id, runs.root_run_id, runs.last_seq
    from runs left join tenants on tenants.id = runs.tenant_id
    where runs.status in ('queued', 'running', 'waiting') and runs.id > ${after}
      and coalesce(tenants.partition, 0) = ${partition}
    order by runs.id limit ${limit}`.execute(db);
  return rows.map(toHead);
};

/** Where these runs stand here, ended ones too; unknown ones are left out. */
export const listRunHeads = async (db: Db, runIds: readonly string[]): Promise<StoredRunHead[]> => {
  const { rows } = await sql<HeadRow>`
    select id, tenant_id, root_run_id, last_seq from runs where id = any(${runIds}::text[])`.execute(db);
  return rows.map(toHead);
};

export interface WholeHead {
  readonly seq: number;
  readonly hash: string;
}

/** Where those of these runs end that can be read back whole: their key is there, and no event is a stub. */
export const listWholeHeads = async (
  db: Db,
  runIds: readonly string[],
): Promise<ReadonlyMap<string, WholeHead>> =>
  reaching(async () => {
    const { rows } = await sql<{ id: string; seq: number; hash: string }>`
      select runs.id, head.seq, head.hash
      from runs join run_keys on run_keys.run_id = runs.id
      join audit_events head on head.run_id = runs.id and head.seq = runs.last_seq
      where runs.id = any(${runIds}::text[])
        and not exists (select from audit_events stub where stub.run_id = runs.id and stub.body is null)`.execute(
      db,
    );
    return new Map(rows.map(({ id, seq, hash }) => [id, { seq, hash }]));
  });

/** A page holds journals and sealed contents of at most so much, or one run. */
const PAGE_BYTES = 8_000_000;

/** Of journals and sealed contents: what reading a run takes. */
const sizesOf = (db: Db, runIds: readonly string[]): Promise<ReadonlyMap<string, number>> =>
  reaching(async () => {
    const { rows } = await sql<{ id: string; bytes: number }>`
      select x.id, (
        (select coalesce(sum(octet_length(body)), 0) from audit_events where run_id = x.id collate "C") +
        (select coalesce(sum(octet_length(sealed)), 0) from contents where run_id = x.id collate "C")
      )::bigint as bytes
      from unnest(${runIds}::text[]) as x (id)`.execute(db);
    return new Map(rows.map(({ id, bytes }) => [id, bytes]));
  });

const pagesOf = (
  heads: readonly StoredRunHead[],
  sizes: ReadonlyMap<string, number>,
): readonly StoredRunHead[][] => {
  const pages: StoredRunHead[][] = [];
  let bytes = 0;
  for (const head of heads) {
    const own = sizes.get(head.runId) ?? 0;
    bytes += own;
    const page = pages.at(-1);
    if (page !== undefined && bytes <= PAGE_BYTES) page.push(head);
    else {
      pages.push([head]);
      bytes = own;
    }
  }
  return pages;
};

/** The journals, keys and contents of runs of any tenant, as much at once as memory has room for. */
export async function* readStoredRuns(
  db: Db,
  heads: readonly StoredRunHead[],
): AsyncGenerator<StoredRun[], undefined> {
  const sizes = await sizesOf(
    db,
    heads.map(({ runId }) => runId),
  );
  for (const page of pagesOf(heads, sizes)) {
    for (const [tenantId, own] of Map.groupBy(page, (head) => head.tenantId)) {
      yield await readRuns(
        db,
        tenantId,
        own.map(({ runId }) => runId),
      );
    }
  }
}

export interface DaySpend {
  readonly tenantId: string;
  readonly userId: string;
  readonly day: string;
  readonly spentNano: number;
}

/** Settled cost by tenant, user ('' for none) and day, from `sinceDay` (yyyy-mm-dd) on. */
export const sumSpendByDay = async (
  db: Db,
  { partition, sinceDay }: { partition: number; sinceDay: string },
): Promise<DaySpend[]> => {
  // The sums count a settlement when its hold has told the day, as the ledger does, and are a fraction of its rows.
  const { rows } = await sql<{ tenant_id: string; user_id: string; day: string; spent: string }>`
    select d.tenant_id, d.user_id, d.day, sum(d.observed_nano)::bigint as spent
    from daily_costs d left join tenants on tenants.id = d.tenant_id
    where d.day >= ${sinceDay}::date and coalesce(tenants.partition, 0) = ${partition}
    group by 1, 2, 3`.execute(db);
  return rows.map((row) => ({
    tenantId: row.tenant_id,
    userId: row.user_id,
    day: row.day,
    spentNano: Number(row.spent),
  }));
};

/** Trees that one statement sums up. */
const ROOTS = 1000;

/** Settled cost by run tree; trees that have none are left out. */
export const sumSpendByRoot = async (db: Db, rootRunIds: readonly string[]): Promise<Map<string, number>> => {
  const sums = new Map<string, number>();
  for (let i = 0; i < rootRunIds.length; i += ROOTS) {
    // Tree by tree, so that an index answers however many are asked for: the calls of the root itself are found by
    // its run, those of the other runs by an index that holds no more than them.
    const { rows } = await sql<{ root: string; spent: string }>`
      select x.root, own.spent
      from unnest(${rootRunIds.slice(i, i + ROOTS)}::text[]) as x (root)
      cross join lateral (
        select sum(observed_nano)::bigint as spent from (
          select observed_nano from cost_ledger
          where run_id = x.root collate "C" and root_run_id = run_id
          union all
          select observed_nano from cost_ledger
          where root_run_id = x.root collate "C" and root_run_id <> run_id
        ) calls
      ) own
      where own.spent is not null`.execute(db);
    for (const { root, spent } of rows) sums.set(root, Number(spent));
  }
  return sums;
};

/** Those of these holds whose settlement the ledger has. */
export const settledHolds = async (db: Db, holdIds: readonly string[]): Promise<ReadonlySet<string>> => {
  const { rows } = await sql<{ hold_id: string }>`
    select hold_id from cost_ledger
    where hold_id = any(${holdIds}::text[]) and observed_nano is not null`.execute(db);
  return new Set(rows.map((row) => row.hold_id));
};

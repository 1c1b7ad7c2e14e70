import type { Db } from '@signalbox/audit-store';
import { type Partition, runKey } from '@signalbox/run-state';

/**
 * What is really stored of a system of runs, read raw: Redis keys, Postgres rows, the provider's books. The
 * checker judges this and nothing else, so each rule can be shown to fail on a planted fault.
 */
export interface Evidence {
  readonly runs: readonly RunEvidence[];
  /** Day scopes in Redis by key, without the partition root. */
  readonly spend: ReadonlyMap<string, Spend>;
  readonly daily: readonly DailyRow[];
  /** Ids left in the sets of run state that only live runs belong to, by set. */
  readonly leftovers: ReadonlyMap<string, readonly string[]>;
  /** Commits not yet in Postgres. */
  readonly backlog: number;
  readonly quarantined: number;
  /** Requests the provider got: which model call (1, 2, ...) of which run. Null: nobody kept books. */
  readonly provider: readonly ProviderRequest[] | null;
}

export interface ProviderRequest {
  readonly runId: string;
  readonly call: number;
}

export interface Spend {
  readonly spent: number;
  readonly held: number;
}

export interface RunEvidence {
  readonly id: string;
  /** The run record in Redis. */
  readonly record: Readonly<Record<string, string>>;
  /** Journal in Redis: 64 hex digits and the body. */
  readonly entries: readonly string[];
  /** `state amount day charged` by hold id. */
  readonly holds: Readonly<Record<string, string>>;
  readonly rows: readonly AuditRow[];
  readonly row: RunRow | null;
  readonly ledger: readonly LedgerRow[];
}

export interface AuditRow {
  readonly run_id: string;
  readonly seq: number;
  readonly epoch: number | null;
  readonly type: string;
  readonly prev: string | null;
  readonly hash: string;
  readonly body: string | null;
}

export interface RunRow {
  readonly id: string;
  readonly status: string;
  readonly error_code: string | null;
  readonly steps: number;
  readonly last_seq: number;
  readonly epoch: number;
  readonly cost_observed_nano: number;
  readonly input_tokens: number;
  readonly output_tokens: number;
  readonly started_at: Date | null;
  readonly finished_at: Date | null;
}

export interface LedgerRow {
  readonly hold_id: string;
  readonly tenant_id: string;
  readonly user_id: string | null;
  readonly agent: string | null;
  readonly run_id: string;
  readonly root_run_id: string;
  readonly model: string;
  readonly day: string | null;
  readonly held_nano: number | null;
  readonly observed_nano: number | null;
  readonly state: string;
  readonly completed: boolean;
}

export interface DailyRow {
  readonly tenant_id: string;
  readonly day: string;
  readonly user_id: string;
  readonly agent: string;
  readonly model: string;
  readonly observed_nano: number;
  readonly calls: number;
}

const scan = async ({ redis }: Partition, pattern: string): Promise<string[]> => {
  const found = new Set<string>();
  let cursor = '0';
  do {
    const [next, keys] = await redis.scan(cursor, 'MATCH', pattern, 'COUNT', 1000);
    for (const key of keys) found.add(key);
    cursor = next;
  } while (cursor !== '0');
  return [...found].toSorted();
};

const RUN_KEY = /:run:(run_[0-9a-f]{32})$/;

const readSpend = async (partition: Partition): Promise<Map<string, Spend>> => {
  const scopes = await scan(partition, `${partition.root}:spend:*`);
  const at = await Promise.all(scopes.map((key) => partition.redis.hmget(key, 'spent', 'held')));
  return new Map(
    scopes.map((key, i) => [
      key.slice(partition.root.length + 1),
      { spent: Number(at[i]?.[0] ?? 0), held: Number(at[i]?.[1] ?? 0) },
    ]),
  );
};

const readLeftovers = async (partition: Partition): Promise<Map<string, string[]>> => {
  const { redis, root } = partition;
  const fixed = [
    'admitted',
    'running',
    'parked',
    'asleep',
    'loading',
    'timers',
    'queued:0',
    'queued:1',
    'queued:2',
  ];
  const [ready, waiters, ...unordered] = await Promise.all([
    scan(partition, `${root}:ready:*`),
    scan(partition, `${root}:waiters:*`),
    scan(partition, `${root}:lease:*`),
    scan(partition, `${root}:busy:*`),
    scan(partition, `${root}:busy_user:*`),
  ]);
  const sets = await Promise.all(
    [...fixed.map((name) => `${root}:${name}`), ...ready, ...waiters].map(
      async (key) => [key, await redis.zrange(key, 0, '-1')] as const,
    ),
  );
  const members = unordered.flat().map(async (key) => [key, await redis.smembers(key)] as const);
  return new Map(
    [...sets, ...(await Promise.all(members))].map(([key, ids]) => [key.slice(root.length + 1), ids]),
  );
};

const byRun = <T extends { readonly run_id: string }>(rows: readonly T[]): Map<string, T[]> =>
  Map.groupBy(rows, ({ run_id: runId }) => runId);

/** Reads everything. Meant for a system at rest: the parts are read one after the other. */
export const gatherEvidence = async (
  { partition, db }: { readonly partition: Partition; readonly db: Db },
  provider: readonly ProviderRequest[] | null = null,
): Promise<Evidence> => {
  const { redis, root } = partition;
  const hot = (await scan(partition, `${root}:run:*`)).flatMap((key) => RUN_KEY.exec(key)?.[1] ?? []);
  const [rows, runRows, ledger, daily, quarantine] = await Promise.all([
    db
      .selectFrom('audit_events')
      .select(['run_id', 'seq', 'epoch', 'type', 'prev', 'hash', 'body'])
      .where('run_id', 'like', 'run_%')
      .orderBy('run_id')
      .orderBy('seq')
      .execute(),
    db.selectFrom('runs').selectAll().execute(),
    db.selectFrom('cost_ledger').selectAll().execute(),
    db.selectFrom('daily_costs').selectAll().execute(),
    db.selectFrom('audit_quarantine').select('id').execute(),
  ]);
  const [rowsOf, ledgerOf] = [byRun(rows), byRun(ledger)];
  const runRow = new Map(runRows.map((row) => [row.id, row]));
  const ids = [...new Set([...hot, ...runRow.keys(), ...rowsOf.keys()])].toSorted();
  const runs = await Promise.all(
    ids.map(async (id): Promise<RunEvidence> => {
      const [record, entries, holds] = await Promise.all([
        redis.hgetall(runKey(partition, id)),
        redis.lrange(runKey(partition, id, 'events'), 0, -1),
        redis.hgetall(runKey(partition, id, 'holds')),
      ]);
      const stored = { rows: rowsOf.get(id) ?? [], row: runRow.get(id) ?? null };
      return { id, record, entries, holds, ...stored, ledger: ledgerOf.get(id) ?? [] };
    }),
  );
  return {
    runs,
    spend: await readSpend(partition),
    daily,
    leftovers: await readLeftovers(partition),
    backlog: await redis.xlen(`${root}:audit`),
    quarantined: quarantine.length,
    provider,
  };
};

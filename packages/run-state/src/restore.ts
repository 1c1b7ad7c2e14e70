import type { Entry, Nano } from '@signalbox/contracts';
import { z } from 'zod';
import { type Partition, runKey } from './partition.ts';
import { runScript } from './scripts.ts';

/**
 * Puts run state back from what Postgres holds, while the partition is not trusted and nobody else writes
 * (design §6). Runs first, then counters: held amounts are summed from the runs' own open holds, and spent
 * ones never fall below the ledger.
 */
export interface LoadableRun {
  readonly runId: string;
  readonly tenantId: string;
  readonly userId: string | null;
  readonly agent: string | null;
  readonly rootRunId: string;
  readonly priority: 'high' | 'normal' | 'low';
  readonly capNano: Nano | null;
  readonly wrappedKey: string;
  readonly epoch: number;
  readonly seq: number;
  readonly head: string;
  readonly createdMs: number;
  readonly status: string;
  readonly waitingFor: string | null;
  readonly dueMs: number | null;
  readonly entries: readonly Entry[];
  readonly holds: readonly LoadableHold[];
  readonly contents: ReadonlyMap<string, string>;
}

export interface LoadableHold {
  readonly id: string;
  readonly amountNano: Nano;
  readonly day: string;
  /** Null: still held. */
  readonly settled: { readonly observedNano: Nano; readonly expired: boolean } | null;
}

const RANK = { high: '0', normal: '1', low: '2' } as const;

const holdValue = ({ amountNano, day, settled }: LoadableHold): string => {
  if (settled === null) return `held ${amountNano} ${day}`;
  return `${settled.expired ? 'expired' : 'settled'} ${amountNano} ${day} ${settled.observedNano}`;
};

/** True: loaded. False: what Redis has of the run is not behind. Throws `state_unavailable`. */
export const loadRun = async (partition: Partition, run: LoadableRun): Promise<boolean> => {
  const header = {
    run: run.runId,
    tenant: run.tenantId,
    user: run.userId ?? '',
    agent: run.agent ?? '',
    root: run.rootRunId,
    rank: RANK[run.priority],
    cap: run.capNano === null ? 'inf' : String(run.capNano),
    key: run.wrappedKey,
    epoch: run.epoch,
    seq: run.seq,
    head: run.head,
    created_ms: run.createdMs,
    status: run.status,
    ...(run.waitingFor === null ? {} : { reason: run.waitingFor }),
    ...(run.dueMs === null ? {} : { due_ms: run.dueMs }),
    entries: run.entries.length,
    holds: run.holds.length,
  };
  const reply = await runScript(partition, 'load', [
    JSON.stringify(header),
    ...run.entries,
    ...run.holds.flatMap((hold) => [hold.id, holdValue(hold)]),
    ...[...run.contents].flat(),
  ]);
  return reply === 'LOADED';
};

const SCAN_COUNT = 1000;

/** Ids of all runs here that have not ended, with the seq their journal has reached. */
export const readLiveHeads = async (partition: Partition): Promise<Map<string, number>> => {
  const key = (name: string): string => `${partition.root}:${name}`;
  const indexes = ['queued:0', 'queued:1', 'queued:2', 'running', 'parked'];
  const ids = new Set(
    (await Promise.all(indexes.map((name) => partition.redis.zrange(key(name), 0, '-1')))).flat(),
  );
  const heads = new Map<string, number>();
  for (const batch of batches([...ids], SCAN_COUNT)) {
    const seqs = await Promise.all(
      batch.map((runId) => partition.redis.hget(runKey(partition, runId), 'seq')),
    );
    batch.forEach((runId, i) => heads.set(runId, Number(seqs[i] ?? 0)));
  }
  return heads;
};

/** What the ledger says was spent: per tenant, user ('' for none) and day. */
export interface LedgerTotal {
  readonly tenantId: string;
  readonly userId: string;
  readonly day: string;
  readonly spentNano: Nano;
}

const spendKeys = (
  partition: Partition,
  { tenantId, userId, day }: Omit<LedgerTotal, 'spentNano'>,
): string[] => {
  const spend = `${partition.root}:spend`;
  const month = day.slice(0, 7);
  const ofTenant = [`${spend}:tenant:${tenantId}:${day}`, `${spend}:tenant_month:${tenantId}:${month}`];
  if (userId === '') return ofTenant;
  return [
    ...ofTenant,
    `${spend}:user:${tenantId}:${day}:${userId}`,
    `${spend}:user_month:${tenantId}:${month}:${userId}`,
  ];
};

const Holds = z.record(z.string(), z.string());
const HELD = /^held (\d+) (\S+)/;

const addTo = (totals: Map<string, number>, key: string, nano: Nano): void => {
  totals.set(key, (totals.get(key) ?? 0) + nano);
};

/** Open holds of the runs that have not ended, summed per scope. */
const sumHeld = async (partition: Partition, runIds: readonly string[]): Promise<Map<string, number>> => {
  const held = new Map<string, number>();
  for (const batch of batches(runIds, SCAN_COUNT)) {
    await Promise.all(
      batch.map(async (runId) => {
        const [holds, [tenantId, userId, root]] = await Promise.all([
          partition.redis.hgetall(runKey(partition, runId, 'holds')),
          partition.redis.hmget(runKey(partition, runId), 'tenant', 'user', 'root'),
        ]);
        addTo(held, runKey(partition, root ?? runId), 0);
        for (const value of Object.values(Holds.parse(holds))) {
          const [, amount, day] = HELD.exec(value) ?? [];
          if (amount === undefined || day === undefined) continue;
          const keys = spendKeys(partition, { tenantId: tenantId ?? '', userId: userId ?? '', day });
          for (const key of [runKey(partition, root ?? runId), ...keys]) addTo(held, key, Number(amount));
        }
      }),
    );
  }
  return held;
};

const scanSpend = async (partition: Partition): Promise<string[]> => {
  const keys: string[] = [];
  let cursor = '0';
  do {
    const [next, found] = await partition.redis.scan(
      cursor,
      'MATCH',
      `${partition.root}:spend:*`,
      'COUNT',
      SCAN_COUNT,
    );
    keys.push(...found);
    cursor = next;
  } while (cursor !== '0');
  return keys;
};

/** `spent` of a scope becomes at least this much. */
const raiseSpent = async (partition: Partition, spent: ReadonlyMap<string, number>): Promise<void> => {
  for (const batch of batches([...spent], SCAN_COUNT)) {
    await Promise.all(
      batch.map(async ([key, nano]) => {
        const here = Number((await partition.redis.hget(key, 'spent')) ?? 0);
        if (here < nano) await partition.redis.hset(key, 'spent', String(nano));
      }),
    );
  }
};

export interface Ledger {
  readonly days: readonly LedgerTotal[];
  /** Spent per run tree, by the id of its root. */
  readonly runs: ReadonlyMap<string, Nano>;
}

/** Sets every counter: spent to the larger of here and ledger, held to the sum of open holds. */
export const restoreCounters = async (partition: Partition, ledger: Ledger): Promise<void> => {
  const spent = new Map<string, number>();
  for (const total of ledger.days)
    for (const key of spendKeys(partition, total)) addTo(spent, key, total.spentNano);
  for (const [root, nano] of ledger.runs) {
    if ((await partition.redis.exists(runKey(partition, root))) === 1)
      spent.set(runKey(partition, root), nano);
  }
  await raiseSpent(partition, spent);
  const held = await sumHeld(partition, [...(await readLiveHeads(partition)).keys()]);
  const scopes = new Set([
    ...(await scanSpend(partition)).filter((key) => !key.endsWith(':waiters')),
    ...held.keys(),
  ]);
  for (const batch of batches([...scopes], SCAN_COUNT)) {
    await Promise.all(batch.map((key) => partition.redis.hset(key, 'held', String(held.get(key) ?? 0))));
  }
};

const batches = <T>(items: readonly T[], size: number): T[][] => {
  const out: T[][] = [];
  for (let i = 0; i < items.length; i += size) out.push(items.slice(i, i + size));
  return out;
};

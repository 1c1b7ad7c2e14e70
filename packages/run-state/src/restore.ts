import { type Entry, type Nano, SignalboxError } from '@signalbox/contracts';
import { z } from 'zod';
import type { AbortFlag } from './abort.ts';
import { type Partition, runKey } from './partition.ts';
import { runScript } from './scripts.ts';
import { overtaken, type Verification } from './trust.ts';

/**
 * Puts run state back from what Postgres holds, within a verification, while nobody else writes (design §6).
 * Runs first, then counters: held amounts are summed from the runs' own open holds, and spent ones never fall
 * below the ledger. Each write names its verification, so that one that was overtaken changes nothing.
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
  /** The highest its journal knows; the next activation is another. */
  readonly wakeSeq: number;
  readonly createdMs: number;
  readonly status: string;
  readonly waitingFor: string | null;
  readonly dueMs: number | null;
  /** The run was asked to stop. */
  readonly abort: AbortFlag | null;
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

/** True: loaded. False: what Redis has of the run is not behind. Throws `state_unavailable`, `state_untrusted`. */
export const loadRun = async (
  partition: Partition,
  { token }: Verification,
  run: LoadableRun,
): Promise<boolean> => {
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
    wake_seq: run.wakeSeq,
    created_ms: run.createdMs,
    status: run.status,
    ...(run.waitingFor === null ? {} : { reason: run.waitingFor }),
    ...(run.dueMs === null ? {} : { due_ms: run.dueMs }),
    ...(run.abort === null ? {} : { abort: run.abort }),
    entries: run.entries.length,
    holds: run.holds.length,
  };
  const reply = await runScript(partition, 'load', [
    token,
    JSON.stringify(header),
    ...run.entries,
    ...run.holds.flatMap((hold) => [hold.id, holdValue(hold)]),
    ...[...run.contents].flat(),
  ]);
  if (reply === 'OVERTAKEN') throw overtaken();
  return reply === 'LOADED';
};

const SCAN_COUNT = 1000;

const reading = async <T>(work: () => Promise<T>): Promise<T> => {
  try {
    return await work();
  } catch (error) {
    throw new SignalboxError('state_unavailable', 'Run state cannot be read. Try again in a moment.', {
      cause: error,
      retryAfter: 1,
    });
  }
};

const liveHeads = async (partition: Partition): Promise<Map<string, number>> => {
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

/** Ids of all runs here that have not ended, with the seq their journal has reached. Throws `state_unavailable`. */
export const readLiveHeads = (partition: Partition): Promise<Map<string, number>> =>
  reading(() => liveHeads(partition));

/** What the ledger says was spent: per tenant, user ('' for none) and day. */
export interface LedgerTotal {
  readonly tenantId: string;
  readonly userId: string;
  readonly day: string;
  readonly spentNano: Nano;
}

/** Scopes are named by their keys behind the partition's root, as in lib/money.lua. */
const spendScopes = ({ tenantId, userId, day }: Omit<LedgerTotal, 'spentNano'>): string[] => {
  const month = day.slice(0, 7);
  const ofTenant = [`spend:tenant:${tenantId}:${day}`, `spend:tenant_month:${tenantId}:${month}`];
  if (userId === '') return ofTenant;
  return [
    ...ofTenant,
    `spend:user:${tenantId}:${day}:${userId}`,
    `spend:user_month:${tenantId}:${month}:${userId}`,
  ];
};

const runScope = (runId: string): string => `run:${runId}`;

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
        const ofRun = runScope(root ?? runId);
        addTo(held, ofRun, 0);
        for (const value of Object.values(Holds.parse(holds))) {
          const [, amount, day] = HELD.exec(value) ?? [];
          if (amount === undefined || day === undefined) continue;
          const scopes = spendScopes({ tenantId: tenantId ?? '', userId: userId ?? '', day });
          for (const scope of [ofRun, ...scopes]) addTo(held, scope, Number(amount));
        }
      }),
    );
  }
  return held;
};

/** Who waits for room in a scope, or was promised some. */
const BESIDE_SCOPE = /:(waiters|promised)$/;

/** The day and month scopes that are here. */
const scanSpend = async ({ redis, root }: Partition): Promise<string[]> => {
  const keys: string[] = [];
  let cursor = '0';
  do {
    const [next, found] = await redis.scan(cursor, 'MATCH', `${root}:spend:*`, 'COUNT', SCAN_COUNT);
    keys.push(...found);
    cursor = next;
  } while (cursor !== '0');
  return keys.filter((key) => !BESIDE_SCOPE.test(key)).map((key) => key.slice(root.length + 1));
};

export interface Ledger {
  readonly days: readonly LedgerTotal[];
  /** Spent per run tree, by the id of its root. */
  readonly runs: ReadonlyMap<string, Nano>;
}

/**
 * Sets every counter: spent to the larger of here and ledger, held to the sum of open holds. Throws
 * `state_unavailable`, `state_untrusted`.
 */
export const restoreCounters = async (
  partition: Partition,
  { token }: Verification,
  ledger: Ledger,
): Promise<void> => {
  const spent = new Map<string, number>();
  for (const total of ledger.days)
    for (const scope of spendScopes(total)) addTo(spent, scope, total.spentNano);
  for (const [root, nano] of ledger.runs) spent.set(runScope(root), nano);
  const { held, here } = await reading(async () => ({
    held: await sumHeld(partition, [...(await liveHeads(partition)).keys()]),
    here: await scanSpend(partition),
  }));
  const scopes = new Set([...here, ...spent.keys(), ...held.keys()]);
  for (const batch of batches([...scopes], SCAN_COUNT)) {
    const rows = batch.flatMap((scope) => [scope, spent.get(scope) ?? 0, held.get(scope) ?? 0]);
    const reply = await runScript(partition, 'counters', [token, ...rows]);
    if (reply === 'OVERTAKEN') throw overtaken();
  }
};

const batches = <T>(items: readonly T[], size: number): T[][] => {
  const out: T[][] = [];
  for (let i = 0; i < items.length; i += size) out.push(items.slice(i, i + size));
  return out;
};

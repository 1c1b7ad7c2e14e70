/**
 * Puts run state back from what Postgres holds, within a verification, while nobody else writes (design §6).
 * Runs first, then counters: held amounts are summed from the runs' own open holds, and spent ones never fall
 * below the ledger. Each write names its verification, so that one that was overtaken changes nothing.
 */
import type { Nano } from '@signalbox/contracts';
import { messageOf } from '@signalbox/runtime';
import { z } from 'zod';
import { batches } from '../redis/batches.ts';
import { liveIds } from '../runs/live-ids.ts';
import { LIVE_INDEXES } from '../runs/live-runs.ts';
import { holdArgs, loadArgs, type LoadableRun, RANK } from './loadable-run.ts';
import { type Partition, runKey } from '../redis/partition.ts';
import { reachingState } from '../redis/reaching.ts';
import { runScript } from '../redis/scripts.ts';
import { overtaken, type Verification } from './trust.ts';

/** True: loaded. False: what Redis has of the run is not behind. Throws `state_unavailable`, `state_untrusted`. */
export const loadRun = async (
  partition: Partition,
  { token }: Verification,
  run: LoadableRun,
  { asleep }: { readonly asleep: boolean } = { asleep: false },
): Promise<boolean> => {
  const reply = await runScript(partition, 'load', [token, ...loadArgs(run, { asleep })]);
  if (reply === 'OVERTAKEN') throw overtaken();
  return reply === 'LOADED';
};

type Known =
  | 'runId'
  | 'tenantId'
  | 'userId'
  | 'agent'
  | 'rootRunId'
  | 'priority'
  | 'capNano'
  | 'epoch'
  | 'seq';

/** What Postgres knows of a run whose journal it cannot give. */
export interface RunOutline extends Pick<LoadableRun, Known | 'status' | 'holds'> {
  readonly createdAt: string;
  readonly sessionId: string | null;
}

/**
 * Takes a run that could not be loaded out of play (see set_aside.lua); listLoading has it from here on. Throws
 * `state_unavailable`, `state_untrusted`.
 */
export const setAside = async (
  partition: Partition,
  { token }: Verification,
  run: RunOutline,
): Promise<void> => {
  const header = {
    run: run.runId,
    tenant: run.tenantId,
    user: run.userId ?? '',
    agent: run.agent ?? '',
    root: run.rootRunId,
    rank: RANK[run.priority],
    cap: run.capNano === null ? 'inf' : String(run.capNano),
    epoch: run.epoch,
    seq: run.seq,
    status: run.status,
    created: run.createdAt,
    ...(run.sessionId === null ? {} : { session: run.sessionId }),
  };
  const args = [token, JSON.stringify(header), ...holdArgs(run.holds)];
  if ((await runScript(partition, 'set_aside', args)) === 'OVERTAKEN') throw overtaken();
};

/** How many runs no verification could put back yet. Throws `state_unavailable`. */
export const countUnrestored = ({ redis, root }: Partition): Promise<number> =>
  reachingState(() => redis.scard(`${root}:unrestored`));

const SCAN_COUNT = 1000;

/** What is of another type than it should be is as good as not there: one key must not keep all from being verified. */
const orNothing = <T>(read: Promise<T>): Promise<T | null> =>
  read.catch((error: unknown) => {
    if (messageOf(error).startsWith('WRONGTYPE')) return null;
    throw error;
  });

const liveHeads = async (partition: Partition): Promise<Map<string, number>> => {
  const ids = new Set<string>();
  for await (const page of liveIds(partition, LIVE_INDEXES)) for (const runId of page) ids.add(runId);
  const heads = new Map<string, number>();
  for (const batch of batches([...ids], SCAN_COUNT)) {
    const seqs = await Promise.all(
      batch.map((runId) => orNothing(partition.redis.hget(runKey(partition, runId), 'seq'))),
    );
    batch.forEach((runId, i) => heads.set(runId, Number(seqs[i]) || 0));
  }
  return heads;
};

/** Ids of all runs here that have not ended, with the seq their journal has reached. Throws `state_unavailable`. */
export const readLiveHeads = (partition: Partition): Promise<Map<string, number>> =>
  reachingState(() => liveHeads(partition));

/** What the ledger says was spent: per tenant, user ('' for none) and day. */
export interface LedgerTotal {
  readonly tenantId: string;
  readonly userId: string;
  readonly day: string;
  readonly spentNano: Nano;
}

/** Scope names are key suffixes below the partition's root, as in lib/money.lua. */
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
const HOLD = /^(held|settled|expired) (\d+) (\S+) ?(\d*)$/;

/** A hold of a run that has not ended, as run state has it. */
interface LiveHold {
  readonly holdId: string;
  readonly state: string;
  readonly day: string;
  readonly tenantId: string;
  readonly userId: string;
  readonly rootRunId: string;
  /** What it holds, or was charged. */
  readonly nano: Nano;
}

interface HoldsOfRun {
  readonly rootRunId: string;
  readonly holds: readonly LiveHold[];
}

const holdsOf = async (partition: Partition, runId: string): Promise<HoldsOfRun> => {
  const [holds, record] = await Promise.all([
    orNothing(partition.redis.hgetall(runKey(partition, runId, 'holds'))),
    orNothing(partition.redis.hmget(runKey(partition, runId), 'tenant', 'user', 'root')),
  ]);
  const [tenant, user, root] = record ?? [];
  const of = { tenantId: tenant ?? '', userId: user ?? '', rootRunId: root ?? runId };
  const parsed = Object.entries(Holds.parse(holds ?? {})).flatMap(([holdId, value]): LiveHold[] => {
    const [, state, amount, day, charged] = HOLD.exec(value) ?? [];
    if (state === undefined || day === undefined) return [];
    return [{ holdId, state, day, ...of, nano: Number(state === 'held' ? amount : charged) }];
  });
  return { rootRunId: of.rootRunId, holds: parsed };
};

const liveHolds = async (partition: Partition, runIds: readonly string[]): Promise<HoldsOfRun[]> => {
  const found: HoldsOfRun[] = [];
  for (const batch of batches(runIds, SCAN_COUNT)) {
    found.push(...(await Promise.all(batch.map((runId) => holdsOf(partition, runId)))));
  }
  return found;
};

/**
 * Holds that count as spent because their worker was lost, of runs that have not ended. Their event may be nowhere
 * yet: the next owner writes it. Throws `state_unavailable`.
 */
export const readChargedHolds = (partition: Partition): Promise<readonly LiveHold[]> =>
  reachingState(async () => {
    const runs = await liveHolds(partition, [...(await liveHeads(partition)).keys()]);
    return runs.flatMap(({ holds }) => holds.filter(({ state }) => state === 'expired'));
  });

const addTo = (totals: Map<string, number>, key: string, nano: Nano): void => {
  totals.set(key, (totals.get(key) ?? 0) + nano);
};

/** Open holds of the runs that have not ended, summed per scope. */
const sumHeld = async (partition: Partition, runIds: readonly string[]): Promise<Map<string, number>> => {
  const held = new Map<string, number>();
  for (const { rootRunId, holds } of await liveHolds(partition, runIds)) {
    addTo(held, runScope(rootRunId), 0);
    for (const hold of holds.filter(({ state }) => state === 'held')) {
      for (const scope of [runScope(rootRunId), ...spendScopes(hold)]) addTo(held, scope, hold.nano);
    }
  }
  return held;
};

/** The day and month scopes that are here. */
const scanSpend = async ({ redis, root }: Partition): Promise<string[]> => {
  const keys: string[] = [];
  let cursor = '0';
  do {
    const [next, found] = await redis.scan(cursor, 'MATCH', `${root}:spend:*`, 'COUNT', SCAN_COUNT);
    keys.push(...found);
    cursor = next;
  } while (cursor !== '0');
  return keys.map((key) => key.slice(root.length + 1));
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
  const { held, here } = await reachingState(async () => ({
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

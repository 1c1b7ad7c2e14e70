import type { Nano } from '@signalbox/contracts';
import { batches } from '../redis/batches.ts';
import type { Partition } from '../redis/partition.ts';
import { reachingState } from '../redis/reaching.ts';
import { runScript } from '../redis/scripts.ts';
import { readLiveHolds } from './live-holds.ts';
import { overtaken, type Verification } from './trust.ts';

/**
 * Makes the counters of every scope anew, within a verification, once its runs are back (Trust): held amounts
 * are summed from the runs' own open holds, and spent ones never fall below the ledger.
 */

const AT_ONCE = 1000;

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

const addTo = (totals: Map<string, number>, key: string, nano: Nano): void => {
  totals.set(key, (totals.get(key) ?? 0) + nano);
};

/** Open holds of the runs that have not ended, summed per scope. */
const sumHeld = async (partition: Partition): Promise<Map<string, number>> => {
  const held = new Map<string, number>();
  for (const { rootRunId, holds } of await readLiveHolds(partition)) {
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
    const [next, found] = await redis.scan(cursor, 'MATCH', `${root}:spend:*`, 'COUNT', AT_ONCE);
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
    held: await sumHeld(partition),
    here: await scanSpend(partition),
  }));
  const scopes = new Set([...here, ...spent.keys(), ...held.keys()]);
  for (const batch of batches([...scopes], AT_ONCE)) {
    const rows = batch.flatMap((scope) => [scope, spent.get(scope) ?? 0, held.get(scope) ?? 0]);
    const reply = await runScript(partition, 'counters', [token, ...rows]);
    if (reply === 'OVERTAKEN') throw overtaken();
  }
};

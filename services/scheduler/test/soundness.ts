/** What must be true of a partition after a verification, whatever was lost (R1, R10). */
import assert from 'node:assert/strict';
import { type Partition, readLiveHeads, runKey } from '@signalbox/run-state';
import { record, waitersKey } from '../../../packages/run-state/test/inspect.ts';
import type { Loss } from './loss.ts';

interface Payer {
  readonly tenant: string;
  readonly user: string | null;
  readonly day: string;
}

const spendScopes = ({ tenant, user, day }: Payer): string[] => {
  const month = day.slice(0, 7);
  return [
    `spend:tenant:${tenant}:${day}`,
    `spend:tenant_month:${tenant}:${month}`,
    ...(user === null ? [] : [`spend:user:${tenant}:${day}:${user}`]),
    ...(user === null ? [] : [`spend:user_month:${tenant}:${month}:${user}`]),
  ];
};

/** Spent per scope (key behind the root), as Postgres has it. */
export const ledgerSums = async ({ db }: Loss): Promise<Map<string, number>> => {
  const sums = new Map<string, number>();
  for (const row of await db.selectFrom('cost_ledger').selectAll().execute()) {
    if (row.observed_nano === null || row.day === null) continue;
    const payer = { tenant: row.tenant_id, user: row.user_id, day: row.day };
    for (const scope of [`run:${row.root_run_id}`, ...spendScopes(payer)])
      sums.set(scope, (sums.get(scope) ?? 0) + row.observed_nano);
  }
  return sums;
};

/** Held per scope, by the holds of the runs that are here and have not ended. */
const openHolds = async (partition: Partition): Promise<Map<string, number>> => {
  const sums = new Map<string, number>();
  for (const runId of (await readLiveHeads(partition)).keys()) {
    const { tenant, user, root } = await record(partition, runId);
    const holds = await partition.redis.hgetall(runKey(partition, runId, 'holds'));
    for (const value of Object.values(holds)) {
      const [, amount, day] = /^held (\d+) (\S+)/.exec(value) ?? [];
      if (amount === undefined || day === undefined) continue;
      const payer = { tenant: tenant ?? '', user: user === '' ? null : (user ?? null), day };
      const scopes = [`run:${root}`, ...spendScopes(payer)];
      for (const scope of scopes) sums.set(scope, (sums.get(scope) ?? 0) + Number(amount));
    }
  }
  return sums;
};

export interface Counter {
  readonly spent: number;
  readonly held: number;
}

/** The counters that are here. Runs: those whose record is here. */
export const counters = async ({ partition }: Loss): Promise<Map<string, Counter>> => {
  const { redis, root } = partition;
  const keys = (await redis.keys(`${root}:*`)).map((key) => key.slice(root.length + 1));
  const scopes = keys.filter((key) => /^(spend:|run:[^:]+$)/.test(key));
  return new Map(
    await Promise.all(
      scopes.map(async (scope): Promise<[string, Counter]> => {
        const [spent, held] = await redis.hmget(`${root}:${scope}`, 'spent', 'held');
        return [scope, { spent: Number(spent ?? 0), held: Number(held ?? 0) }];
      }),
    ),
  );
};

/** A wake-up is a place in the queue, a live owner, a timer, or a place among those that wait for room. */
const assertWakeUp = async (partition: Partition, runId: string): Promise<void> => {
  const { redis, root } = partition;
  const run = await record(partition, runId);
  const { status, owner, tenant, user } = run;
  const among = async (...sets: string[]): Promise<boolean> =>
    (await Promise.all(sets.map((set) => redis.zscore(set, runId)))).some((score) => score !== null);
  const at = (name: string): string => `${root}:${name}`;
  switch (status) {
    case 'queued': {
      const placed = await among(at(`ready:${tenant}`), at('admitted'), at(`held_back:${tenant}:${user}`));
      assert.ok(placed, `${runId} is queued nowhere`);
      return;
    }
    case 'running': {
      const deadline = await redis.zscore(at('leases'), owner ?? '');
      assert.ok(deadline !== null, `${runId} runs without a lease that could expire`);
      return;
    }
    case 'waiting':
      assert.ok(
        await among(at('timers'), waitersKey(partition, run), at('loading')),
        `${runId} waits for nothing`,
      );
      return;
    default:
      assert.fail(`${runId} has not ended in Postgres, and is ${status} here`);
  }
};

/** Asserts R10 for all runs, and that no counter is below what it must be. */
export const assertSound = async (loss: Loss): Promise<void> => {
  const { partition, db } = loss;
  const rows = await db.selectFrom('runs').select(['id', 'status', 'last_seq']).execute();
  for (const { id, status, last_seq: seq } of rows) {
    const here = await record(partition, id);
    const ended = ['succeeded', 'failed', 'aborted'].includes(status);
    if (!ended) assert.ok(Number(here['seq']) >= seq, `${id} is behind Postgres`);
    // What Postgres has not got yet may have ended here.
    else if (here['status'] !== undefined) assert.equal(here['status'], status, `${id} came back to life`);
  }
  for (const runId of (await readLiveHeads(partition)).keys()) await assertWakeUp(partition, runId);
  const [ledger, held, here] = [await ledgerSums(loss), await openHolds(partition), await counters(loss)];
  for (const [scope, { spent, held: heldHere }] of here) {
    assert.ok(spent >= (ledger.get(scope) ?? 0), `${scope}: ${spent} spent, the ledger says more`);
    assert.equal(heldHere, held.get(scope) ?? 0, `held of ${scope}`);
  }
  for (const scope of [...ledger.keys(), ...held.keys()])
    assert.ok(here.has(scope) || scope.startsWith('run:'), `${scope} has no counter`);
};

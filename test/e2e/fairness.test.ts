/**
 * Must show 6: a tenant's backlog does not stand before another tenant's runs. Tenant A submits thousands of
 * runs, then B submits 10: how long B's wait for a worker, beside an idle system, and how many of A's start
 * between. Time is printed; what is asserted is the order, which no busy machine changes.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { createApiKey } from '@signalbox/api';
import { fromUsd } from '@signalbox/contracts';
import { waitFor } from '@signalbox/local';
import { setTenantCaps } from '@signalbox/run-state';
import { percentile } from './aborting.ts';
import { type ApiClient, createClient } from './client.ts';
import { FULL, settled, startSystem } from './stack.ts';

const BACKLOG = FULL ? 5000 : 600;
const FEW = 10;
const WORKERS = 2;
const SLOTS_EACH = 100;
const SLOTS = WORKERS * SLOTS_EACH;
const SUBMITTERS = 16;
/** Of A's runs that start between the submit and the start of one of B's. */
const MOST_BETWEEN = 2 * SLOTS;

const system = await startSystem({ workers: WORKERS, env: { WORKER_CONCURRENCY: String(SLOTS_EACH) } });
after(() => system.stop());

const openTenant = async (tenantId: string): Promise<ApiClient> => {
  const { partition, db, stack } = system;
  const defaultCaps = { runNano: fromUsd(1), userDailyNano: fromUsd(20), tenantDailyNano: fromUsd(200) };
  const scopes = ['runs:read', 'runs:write'] as const;
  const { secret } = await createApiKey({ partition, db, defaultCaps }, { tenantId, scopes });
  return createClient(stack.apiUrl, secret);
};

/** Time in a slot, so that the fleet is full and not the machine. */
const SLOW = { model: 'mock/script', instructions: 'Wait.', tools: [] };
const SCRIPT = JSON.stringify({ turns: [{ text: 'done', delay_ms: 1000 }] });

const submitMany = async (api: ApiClient, count: number): Promise<string[]> => {
  const ids: string[] = [];
  const left = Array.from({ length: count }, (_, n) => n);
  const lane = async (): Promise<void> => {
    while (left.pop() !== undefined) ids.push((await api.submit({ agent: SLOW, input: SCRIPT })).id);
  };
  await Promise.all(Array.from({ length: SUBMITTERS }, lane));
  return ids;
};

const submitFew = async (api: ApiClient): Promise<string[]> => {
  const ids: string[] = [];
  for (let n = 0; n < FEW; n += 1) ids.push((await api.submit({ agent: SLOW, input: SCRIPT })).id);
  return ids;
};

interface Start {
  readonly id: string;
  readonly submittedAt: number;
  readonly startedAt: number;
}

/** When runs were submitted and first claimed, by their journals. */
const startsOf = async (ids: readonly string[]): Promise<Start[]> => {
  const rows = await system.db
    .selectFrom('audit_events')
    .select(['run_id', 'type', 'ts'])
    .where('run_id', 'in', [...ids])
    .where('type', 'in', ['run.submitted', 'run.claimed'])
    .orderBy('run_id')
    .orderBy('seq')
    .execute();
  const of = Map.groupBy(rows, (row) => row.run_id);
  return ids.map((id) => {
    const at = (type: string): number =>
      new Date(of.get(id)?.find((row) => row.type === type)?.ts ?? Number.NaN).getTime();
    return { id, submittedAt: at('run.submitted'), startedAt: at('run.claimed') };
  });
};

const p95Delay = (starts: readonly Start[]): number =>
  percentile(
    starts.map(({ submittedAt, startedAt }) => startedAt - submittedAt),
    95,
  );

const claimed = (ids: readonly string[]): Promise<true> =>
  waitFor(
    async () => {
      const runs = await Promise.all(
        ids.map((id) => system.partition.redis.hget(`${system.partition.root}:run:${id}`, 'epoch')),
      );
      return runs.every((epoch) => epoch !== null && epoch !== '0') || undefined;
    },
    { what: 'all to start', timeoutMs: 120_000, everyMs: 20 },
  );

interface Outcome {
  readonly idleMs: number;
  readonly busyMs: number;
  /** A's runs that started between the submit and the start of each of B's. */
  readonly between: readonly number[];
}

/** B's start delay alone, then behind A's backlog. */
const race = async (a: ApiClient, b: ApiClient): Promise<Outcome> => {
  await settled(system, await submitFew(b));
  const alone = await submitFew(b);
  await settled(system, alone);

  const backlog = await submitMany(a, BACKLOG);
  const few = await submitFew(b);
  await claimed(few);
  const { prioritized, waiting } = (await a.request('/v1/autoscale')).json;
  assert.ok(Number(prioritized) + Number(waiting) > SLOTS, 'the backlog was there all the while');
  await settled(system, [...backlog, ...few], 300_000);

  const [before, behind, others] = await Promise.all([startsOf(alone), startsOf(few), startsOf(backlog)]);
  const between = behind.map(
    ({ submittedAt, startedAt }) =>
      others.filter((other) => other.startedAt > submittedAt && other.startedAt < startedAt).length,
  );
  return { idleMs: p95Delay(before), busyMs: p95Delay(behind), between };
};

const show = (what: string, { idleMs, busyMs, between }: Outcome): void => {
  const counts = between.toSorted((x, y) => x - y).join(' ');
  process.stdout.write(
    `start delay p95, ${what}: idle ${idleMs} ms, behind ${BACKLOG} runs of another tenant ${busyMs} ms (x${(busyMs / idleMs).toFixed(1)}); of its runs ${counts} started between\n`,
  );
  assert.ok(
    between.every((count) => count <= MOST_BETWEEN),
    `${Math.max(...between)} of A's runs went before`,
  );
};

test(`a fleet full of A's backlog of ${BACKLOG}: B's ${FEW} runs are the next to start`, async () => {
  const [a, b] = await Promise.all([openTenant('a'), openTenant('b')]);
  show('no caps', await race(a, b));
});

test('a concurrency cap on A leaves places free: B starts as on an idle system', async () => {
  const [a, b] = await Promise.all([openTenant('capped'), openTenant('other')]);
  await setTenantCaps(system.partition, 'capped', { maxRuns: SLOTS - FEW });
  show(`A capped at ${SLOTS - FEW} of ${SLOTS} slots`, await race(a, b));
});

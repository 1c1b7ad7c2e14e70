/**
 * Must show 6: a tenant's backlog does not stand before another tenant's runs. Tenant A submits thousands of
 * runs, then B submits 10: how long B's wait for a worker, beside an idle system, and how many of A's start
 * between. Time is printed; what is asserted is the order, which no busy machine changes.
 */
import assert from 'node:assert/strict';
import { randomInt } from 'node:crypto';
import { after, test } from 'node:test';
import { createApiKey } from '@signalbox/api';
import { fromUsd } from '@signalbox/contracts';
import { setTenantCaps } from '@signalbox/run-state';
import { percentile } from './aborting.ts';
import { type ApiClient, createClient } from './client.ts';
import { FULL, settled, startSystem } from './stack.ts';

/** Many times what runs at once, so that most of it still waits when B has had its turns, on a slow machine too. */
const BACKLOG = FULL ? 5000 : 400;
const FEW = 10;
/** Of B's ten, so that one late start is not the whole measurement. */
const ROUNDS = FULL ? 10 : 2;
const WORKERS = 2;
const SLOTS_EACH = FULL ? 100 : 25;
const SLOTS = WORKERS * SLOTS_EACH;
const SUBMITTERS = 16;
/** Of A's runs that start between the submit and the start of one of B's; none but on a slow machine. */
const MOST_BETWEEN = SLOTS / 2;

const system = await startSystem({ workers: WORKERS, env: { WORKER_CONCURRENCY: String(SLOTS_EACH) } });
after(() => system.stop());

const openTenant = async (tenantId: string): Promise<ApiClient> => {
  const { partition, db, stack } = system;
  const defaultCaps = { runNano: fromUsd(1), userDailyNano: fromUsd(20), tenantDailyNano: fromUsd(200) };
  const scopes = ['admin'] as const;
  const { secret } = await createApiKey({ partition, db, defaultCaps }, { tenantId, scopes });
  return createClient(stack.apiUrl, secret);
};

const SLOW = { model: 'mock/script', instructions: 'Wait.', tools: [] };
const taking = (ms: number): string => JSON.stringify({ turns: [{ text: 'done', delay_ms: ms }] });
/** Time in a slot, so that the fleet is full and not the machine; not the same for all, or they end in bursts. */
const long = (): string => taking(randomInt(3_000, 9_000));
const SHORT = taking(200);

const submitMany = async (api: ApiClient, count: number): Promise<string[]> => {
  const ids: string[] = [];
  const left = Array.from({ length: count }, (_, n) => n);
  const lane = async (): Promise<void> => {
    while (left.pop() !== undefined) ids.push((await api.submit({ agent: SLOW, input: long() })).id);
  };
  await Promise.all(Array.from({ length: SUBMITTERS }, lane));
  return ids;
};

const submitFew = async (api: ApiClient): Promise<string[]> => {
  const ids: string[] = [];
  for (let n = 0; n < FEW; n += 1) ids.push((await api.submit({ agent: SLOW, input: SHORT })).id);
  return ids;
};

/** A few, and when they have ended a few more: never more than ten at a time. */
const submitInRounds = async (api: ApiClient): Promise<string[]> => {
  const ids: string[] = [];
  for (let round = 0; round < ROUNDS; round += 1) {
    const few = await submitFew(api);
    await settled(system, few);
    ids.push(...few);
  }
  return ids;
};

interface Start {
  readonly id: string;
  readonly submittedAt: number;
  readonly startedAt: number;
}

/** When runs were submitted and first claimed, by their journals; NaN: never. */
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

interface Outcome {
  readonly idleMs: number;
  readonly busyMs: number;
  /** A's runs that started between the submit and the start of each of B's. */
  readonly between: readonly number[];
}

/** What is left of a backlog proves nothing more. */
const abortAll = async (api: ApiClient): Promise<void> => {
  for (let more = true; more; ) {
    const { status, json } = await api.request('/v1/runs/abort', { body: { filter: { all: true } } });
    assert.equal(status, 202, JSON.stringify(json));
    more = json['more'] === true;
  }
};

/** B's start delay alone, then behind A's backlog. */
const race = async (a: ApiClient, b: ApiClient): Promise<Outcome> => {
  await settled(system, await submitFew(b));
  const alone = await submitInRounds(b);
  await settled(system, alone);

  const backlog = await submitMany(a, BACKLOG);
  const few = await submitInRounds(b);
  const { prioritized, waiting } = (await a.request('/v1/autoscale')).json;
  assert.ok(Number(prioritized) + Number(waiting) > FEW, 'the backlog was there all the while');
  await abortAll(a);
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

/**
 * Must show 3 of money and stop: workers are killed with many runs in open calls. Once their leases ran out no
 * hold is left anywhere, and each call whose end nobody saw is charged once, at its worst case.
 */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { type Service, waitFor } from '@signalbox/local';
import { runKey } from '@signalbox/run-state';
import {
  type FakeReply,
  type FakeRequest,
  type LedgerEntry,
  totalNano,
} from '../support/fake-provider/index.ts';
import { FULL, providerRequests, settled, startSystem, taggedAgent, violations } from './stack.ts';

const ROUNDS = FULL ? 10 : 2;
const RUNS_PER_WORKER = FULL ? 100 : 50;
const CRASHES = ROUNDS * RUNS_PER_WORKER;
const USERS = 7;
/** Long enough that a worker keeps its lease on a machine with much else to do. */
const LEASE_SECONDS = 5;
const NEVER_MS = 600_000;

const TAG = /#tag ([\w-]+)/;
const tagOf = (text: string): string => TAG.exec(text)?.[1] ?? '';

/** Tags of runs that still have a call to crash in. Runs with an odd number crash in their second call. */
const toCrash = new Set<string>();

/** A call that does not end: silent, or streaming; the next attempt at it is answered at once. */
const behave = ({ instructions, messages }: FakeRequest): FakeReply => {
  const tag = tagOf(instructions);
  const number = Number(tag.split('-')[1]);
  const call = messages.filter(({ role }) => role === 'assistant').length + 1;
  if (call === (number % 2) + 1 && toCrash.delete(tag))
    return number % 3 === 0
      ? { text: 'slow '.repeat(2000), chunkDelayMs: 1000 }
      : { text: 'silent', delayMs: NEVER_MS };
  if (call === 2) return { text: 'done' };
  return { toolCalls: [{ id: 'sum', name: 'calculator', arguments: '{"expression": "1 + 1"}' }] };
};

const system = await startSystem({
  workers: 1,
  leaseSeconds: LEASE_SECONDS,
  provider: { behave },
  env: { WORKER_CONCURRENCY: String(RUNS_PER_WORKER), DEFAULT_TENANT_DAILY_CAP_USD: '1000' },
});
after(() => system.stop());
const { partition, stack, provider, db } = system;

const runOfTag = new Map<string, string>();

const submitRound = async (round: number): Promise<string[]> => {
  const numbers = Array.from({ length: RUNS_PER_WORKER }, (_, n) => round * RUNS_PER_WORKER + n);
  return Promise.all(
    numbers.map(async (n) => {
      toCrash.add(`crash-${n}`);
      const agent = taggedAgent(`crash-${n}`);
      const { id } = await system.api.submit({ agent, input: 'go', user_id: `user-${n % USERS}` });
      runOfTag.set(`crash-${n}`, id);
      return id;
    }),
  );
};

const isOpen = ({ finishedAt }: LedgerEntry): boolean => finishedAt === null;

/** Waits until every run of the round is in a call that does not end, and kills the worker that has them. */
const crash = async (worker: Service, round: number): Promise<void> => {
  await waitFor(
    () =>
      toCrash.size === 0 && provider.ledger.filter(isOpen).length === RUNS_PER_WORKER ? true : undefined,
    { what: `${RUNS_PER_WORKER} open calls in round ${round}`, timeoutMs: 60_000 },
  );
  await worker.kill();
};

const holdsOf = async (ids: Iterable<string>): Promise<string[]> =>
  (await Promise.all([...ids].map((id) => partition.redis.hvals(runKey(partition, id, 'holds'))))).flat();

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);
const amounts = (holds: readonly string[], state: string): number[] =>
  holds.filter((hold) => hold.startsWith(`${state} `)).map((hold) => Number(hold.split(' ')[1]));

interface Counters {
  readonly held: number;
  readonly spent: number;
}

/** Held and spent by scope: of every run, and of every day and month. */
const counters = async (): Promise<Map<string, Counters>> => {
  const { redis, root } = partition;
  const spend = await redis.keys(`${root}:spend:*`);
  const keys = [...spend, ...Array.from(runOfTag.values(), (id) => runKey(partition, id))];
  const pipeline = redis.pipeline();
  for (const key of keys) pipeline.hmget(key, 'held', 'spent');
  const values = ((await pipeline.exec()) ?? []).map(([, value]) => value as (string | null)[]);
  return new Map(
    keys.map((key, n) => [key, { held: Number(values[n]?.[0] ?? 0), spent: Number(values[n]?.[1] ?? 0) }]),
  );
};

const leaking = (scopes: ReadonlyMap<string, Counters>): string[] =>
  [...scopes].filter(([, { held }]) => held !== 0).map(([key, { held }]) => `${key}: ${held}`);
const tenantDay = (scopes: ReadonlyMap<string, Counters>): Counters =>
  [...scopes].find(([key]) => key.includes(':spend:tenant:'))?.[1] ?? { held: 0, spent: 0 };

/** With no worker alive: what was held is spent, and nothing else changed. Returns how long it took, ms. */
const charged = async (ids: readonly string[]): Promise<number> => {
  const killedAt = performance.now();
  const before = await counters();
  const open = amounts(await holdsOf(ids), 'held');
  assert.equal(open.length, RUNS_PER_WORKER, 'each run of the dead worker has one open hold');
  assert.equal(tenantDay(before).held, sum(open));
  await waitFor(async () => (leaking(await counters()).length === 0 ? true : undefined), {
    what: 'all holds of the dead worker to be charged',
    timeoutMs: 60_000,
    everyMs: 100,
  }).catch(async () => assert.deepEqual(leaking(await counters()), []));
  const ms = performance.now() - killedAt;
  const holds = await holdsOf(runOfTag.values());
  assert.deepEqual(amounts(holds, 'held'), []);
  assert.equal(amounts(await holdsOf(ids), 'expired').length, RUNS_PER_WORKER);
  assert.equal(tenantDay(await counters()).spent, tenantDay(before).spent + sum(open));
  assert.equal(await partition.redis.zcard(`${partition.root}:leases`), 0, 'no lease outlives its worker');
  assert.equal(await partition.redis.zcard(`${partition.root}:running`), 0);
  return ms;
};

/** The books after all runs ended: which calls were charged without an answer, and what the rest cost. */
const uncertain = async (): Promise<{ holds: string[]; nano: number; rest: number }> => {
  const events = await db
    .selectFrom('audit_events')
    .select('body')
    .where('type', '=', 'cost.expired')
    .execute();
  const holds = events.map(
    ({ body }) =>
      (JSON.parse(body ?? '{}') as { data: { settlement: { hold_id: string } } }).data.settlement.hold_id,
  );
  const ledger = await db.selectFrom('cost_ledger').selectAll().execute();
  const ours = new Set(holds);
  for (const row of ledger)
    if (ours.has(row.hold_id)) assert.equal(row.observed_nano, row.held_nano, `${row.hold_id}: worst case`);
  const nano = (own: boolean): number =>
    sum(ledger.filter((row) => ours.has(row.hold_id) === own).map((row) => row.observed_nano ?? 0));
  return { holds, nano: nano(true), rest: nano(false) };
};

test(`${CRASHES} runs crash in open calls: no hold is left, each uncertain call is charged once`, async () => {
  const times: number[] = [];
  let worker = stack.workers[0];
  assert.ok(worker);
  for (let round = 0; round < ROUNDS; round += 1) {
    const ids = await submitRound(round);
    await crash(worker, round);
    times.push(await charged(ids));
    worker = await stack.startWorker();
  }
  const ids = [...runOfTag.values()];
  assert.deepEqual([...(await settled(system, ids))], [['succeeded', CRASHES]]);

  assert.deepEqual(leaking(await counters()), []);
  const { holds, nano, rest } = await uncertain();
  const aborted = provider.ledger.filter((entry) => entry.aborted);
  assert.equal(holds.length, CRASHES);
  assert.equal(new Set(holds).size, CRASHES);
  assert.equal(new Set(holds.map((id) => id.split(':')[0])).size, CRASHES, 'one in each run');
  assert.equal(aborted.length, CRASHES);
  assert.ok(nano >= totalNano(aborted));
  assert.equal(rest, totalNano(provider.ledger.filter((entry) => !entry.aborted)));
  assert.deepEqual(tenantDay(await counters()), { held: 0, spent: nano + rest });
  const requests = providerRequests(provider, runOfTag);
  assert.deepEqual(await violations(system, requests, { crashes: true }), []);
  process.stdout.write(
    `${CRASHES} runs crashed in open calls with ${ROUNDS} SIGKILLed workers: 0 holds left after at most ${(
      Math.max(...times) / 1000
    ).toFixed(
      1,
    )} s (lease ${LEASE_SECONDS} s); ${holds.length} uncertain calls charged once, ${nano} nano-USD (billed ${totalNano(
      aborted,
    )}); all else ${rest}, as billed; counters = ledger\n`,
  );
});

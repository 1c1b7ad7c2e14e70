/**
 * Every process of every service is replaced under load, as a rollout does it: no run fails, no call is made twice, and
 * no client sees more than a 503 that says when to come back.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { runToEnd, temporaryDir, until } from '@signalbox/local';
import { seeded } from './cap-race-plan.ts';
import { createClient } from './client.ts';
import { type Fleet, type Replacement, SERVICES, startFleet } from './fleet.ts';
import { type LoadBalancer, startLoadBalancer } from './load-balancer.ts';
import { type Load, startLoad } from './steady-load.ts';
import { FULL, providerRequests, settled, startSystem, type System, violations } from './stack.ts';

const CLIENTS = FULL ? 32 : 12;
const ROUNDS = FULL ? 4 : 1;
const MOST_EXTRA = 5;

const system = await startSystem({
  env: {
    BOOTSTRAP_API_KEY: 'sb_rolling',
    ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
    // The load balancer below asks every 100 ms, and on a busy machine waits a second for the answer.
    SHUTDOWN_DELAY_SECONDS: '3',
    DRAIN_SECONDS: '10',
  },
});
after(() => system.stop());

/** Two at once, on the database that everybody uses. */
const migrateTwice = async ({ env }: System): Promise<void> => {
  const logDir = join(await temporaryDir(), 'logs');
  const entry = 'packages/audit-store/src/migrate.ts';
  const of = (name: string) => ({ name, entry, env: { ...process.env, ...env }, logDir });
  await Promise.all([runToEnd(of('migrate-1')), runToEnd(of('migrate-2'))]);
};

/** All services at once, each one copy after the other; in the full proof also one service after the other. */
const roll = async (fleet: Fleet, round: number): Promise<Replacement[]> => {
  if (round % 2 === 0) return (await Promise.all(SERVICES.map((service) => fleet.roll(service)))).flat();
  const done: Replacement[] = [];
  for (const service of SERVICES) done.push(...(await fleet.roll(service)));
  return done;
};

const underLoad = async (fleet: Fleet, load: Load): Promise<Replacement[]> => {
  const started = (more: number) => {
    const wanted = load.books.runOfTag.size + more;
    return until(`${more} more runs`, () => load.books.runOfTag.size >= wanted);
  };
  const done: Replacement[] = [];
  await started(CLIENTS);
  for (let round = 0; round < ROUNDS; round += 1) {
    const [replaced] = await Promise.all([roll(fleet, round), migrateTwice(system)]);
    done.push(...replaced);
    await started(CLIENTS);
  }
  // Whether a stream is open at an api just when that one leaves is chance: then another one leaves.
  for (let n = 0; n < MOST_EXTRA && load.books.resumed === 0; n += 1) done.push(...(await fleet.roll('api')));
  await load.stop();
  return done;
};

const assertBooks = async ({ books }: Load, balancer: LoadBalancer): Promise<void> => {
  assert.deepEqual(books.faults, []);
  assert.deepEqual(balancer.faults, []);
  const ids = [...books.runOfTag.values()];
  assert.equal(new Set(ids).size, ids.length);
  await settled(system, ids);
  const rows = await system.db.selectFrom('runs').select(['id', 'status', 'error_code']).execute();
  assert.equal(rows.length, ids.length, 'a submission that was repeated made no second run');
  for (const { id, status, error_code: code } of rows)
    assert.equal(code ?? status, books.aborted.has(id) ? 'aborted' : 'succeeded', id);
};

/** The provider was asked each call once. */
const assertNoneTwice = async ({ books }: Load): Promise<void> => {
  const requests = providerRequests(system.provider, books.runOfTag);
  const calls = requests.map(({ runId, call }) => `${runId} ${call}`);
  assert.equal(new Set(calls).size, calls.length, 'a call was made twice');
  // Nothing crashed, but a call that was announced when an abort came may not have been made.
  assert.deepEqual(await violations(system, requests, { crashes: true }), []);
};

const eventsOf = async (type: string): Promise<number> => {
  const rows = await system.db.selectFrom('audit_events').select('run_id').where('type', '=', type).execute();
  return rows.length;
};
test(`every process is replaced under ${CLIENTS} clients: no failed run, no error but a retryable 503`, async () => {
  const balancer = await startLoadBalancer([system.stack.apiUrl]);
  after(() => balancer.stop());
  const fleet = await startFleet(system, {
    onStarted: (service, { url }) => void (service === 'api' && balancer.add(url)),
  });
  after(() => fleet.stop());
  const load = startLoad(createClient(balancer.url, system.api.key), {
    clients: CLIENTS,
    random: seeded(1, 'rolling'),
  });
  const replaced = await underLoad(fleet, load);

  for (const { old, exit } of replaced) assert.deepEqual(exit, { code: 0, signal: null }, old);
  assert.ok(replaced.length >= ROUNDS * SERVICES.length * 2);
  await assertBooks(load, balancer);
  await assertNoneTwice(load);
  const handedOver = await eventsOf('run.handed_over');
  assert.ok(handedOver > 0, 'no worker had a run in hand when it was told to stop');
  assert.equal(await eventsOf('cost.expired'), 0);
  assert.ok(load.books.resumed > 0, 'no stream was cut by a stop');
  const { requests, unavailable, resumed, runOfTag, aborted } = load.books;
  const slowest = SERVICES.map((service) => {
    const stops = replaced.filter((each) => each.service === service).map(({ stopMs }) => stopMs);
    return `${service} ${Math.max(...stops)} ms`;
  });
  process.stdout.write(
    `rolling restart: ${replaced.length} processes replaced under ${runOfTag.size} runs (${aborted.size} aborted), ${requests} requests; ` +
      `${unavailable} times 503, ${resumed} streams resumed, ${handedOver} runs handed over, ` +
      `${system.provider.ledger.length} calls, none twice; slowest stops: ${slowest.join(', ')}\n`,
  );
});

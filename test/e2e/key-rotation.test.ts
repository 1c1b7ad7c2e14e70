/**
 * A key of the keyring is replaced under load, as the README says: services roll to `new,old` (those that open before
 * those that wrap), keys:rotate, services roll to `new` alone. No run fails, and every run stays readable.
 */
import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { countWrapped } from '@signalbox/audit-store';
import { runToEnd, temporaryDir, until } from '@signalbox/local';
import { sha256Hex } from '@signalbox/runtime';
import { seeded } from './cap-race-plan.ts';
import { createClient } from './client.ts';
import { type ServiceName, startFleet } from './fleet.ts';
import { startLoadBalancer } from './load-balancer.ts';
import { type Load, startLoad } from './steady-load.ts';
import { FULL, settled, startSystem, violations } from './stack.ts';

const CLIENTS = FULL ? 24 : 4;
const key = (id: string): string => `${id}:${randomBytes(32).toString('base64')}`;
const [OLD, NEW] = [key('old'), key('new')];

const system = await startSystem({
  workers: 1,
  env: {
    BOOTSTRAP_API_KEY: 'sb_rotation',
    ENCRYPTION_KEYS: OLD,
    // The load balancer asks every 100 ms, and on a busy machine waits a second for the answer.
    SHUTDOWN_DELAY_SECONDS: '3',
    DRAIN_SECONDS: '1',
    HIBERNATE_AFTER_SECONDS: '1',
  },
});
after(() => system.stop());
const { api, db, env } = system;

const balancer = await startLoadBalancer([system.stack.apiUrl]);
after(() => balancer.stop());
let keys = OLD;
const fleet = await startFleet(system, {
  copies: 1,
  env: () => ({ ENCRYPTION_KEYS: keys }),
  onStarted: (service, { url }) => void (service === 'api' && balancer.add(url)),
});
after(() => fleet.stop());
const client = createClient(balancer.url, api.key);

const rollTo = async (next: string): Promise<void> => {
  keys = next;
  const readers: readonly ServiceName[] = ['worker', 'scheduler', 'audit-writer'];
  await Promise.all(readers.map((service) => fleet.roll(service)));
  await fleet.roll('api');
};

const more = (load: Load): Promise<true> => {
  const wanted = load.books.runOfTag.size + CLIENTS;
  return until(`${CLIENTS} more runs`, () => load.books.runOfTag.size >= wanted);
};

const AGENT = { model: 'anthropic/claude-haiku-4-5', instructions: 'Answer.' };
const OWN_KEY = 'own-key-of-the-tenant';
const byName = { agent: 'rotated', input: 'hello' };

test(`a key is replaced under ${CLIENTS} clients: no failed run, and all stay readable`, async () => {
  assert.equal((await client.request('/v1/agents/rotated', { method: 'PUT', body: AGENT })).status, 201);
  const ownKey = { method: 'PUT', body: { key: OWN_KEY } };
  assert.equal((await client.request('/v1/providers/anthropic/key', ownKey)).status, 200);
  const runAt = new Date(Date.now() + 3_600_000).toISOString();
  const asleep = await client.submit({ ...byName, run_at: runAt });
  const load = startLoad(client, { clients: CLIENTS, random: seeded(1, 'rotation') });
  await more(load);

  await rollTo(`${NEW},${OLD}`);
  const logDir = join(await temporaryDir(), 'logs');
  await runToEnd({
    name: 'keys-rotate',
    entry: 'services/scheduler/src/rotate-keys.ts',
    env: { ...process.env, ...env, ENCRYPTION_KEYS: keys },
    logDir,
  });
  await rollTo(NEW);
  await more(load);
  await load.stop();

  const { books } = load;
  assert.deepEqual([books.faults, balancer.faults], [[], []]);
  const named = await client.submit(byName);
  assert.equal((await client.end(named.id)).status, 'succeeded');
  const ids = [...books.runOfTag.values(), named.id];
  const { status, json } = await client.request('/v1/providers/anthropic/ping', { method: 'POST' });
  assert.deepEqual([status, (json['last_ping'] as { ok: boolean }).ok], [200, true]);
  const used = [...system.provider.ledger.slice(-1), ...system.provider.pings].map((entry) => entry.key);
  assert.deepEqual(used, [sha256Hex(OWN_KEY), sha256Hex(OWN_KEY)], 'the provider key opens with the new key');
  await settled(system, ids);
  const rows = await db.selectFrom('runs').select(['id', 'status', 'error_code']).execute();
  for (const { id, status, error_code: code } of rows.filter((row) => row.id !== asleep.id)) {
    assert.equal(code ?? status, books.aborted.has(id) ? 'aborted' : 'succeeded', id);
  }
  for (const id of [...ids, asleep.id]) {
    const run = await client.run(id);
    assert.notEqual(run.input, null, `${id} cannot be read with the new key alone`);
    assert.equal(run.output === null, run.status !== 'succeeded', id);
  }
  assert.deepEqual([...(await countWrapped(db)).keys()], ['new']);
  assert.equal((await client.request(`/v1/runs/${asleep.id}/abort`, { method: 'POST' })).status, 202);
  assert.equal((await client.end(asleep.id)).status, 'aborted');
  await settled(system, [asleep.id]);
  assert.deepEqual(await violations(system, null, { crashes: true }), []);
  process.stdout.write(
    `key rotation: ${ids.length} runs, ${books.requests} requests, ${books.unavailable} times 503\n`,
  );
});

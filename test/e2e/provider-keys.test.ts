/**
 * Whose key pays, as the provider's own books tell: tenants with and without a key of their own side by side, a key
 * that is set, tried and removed while runs go on, a Redis that lost it, and where its text can be found (nowhere).
 */
import assert from 'node:assert/strict';
import { readdir, readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { createApiKey } from '@signalbox/api';
import { fromUsd, type Run } from '@signalbox/contracts';
import { waitFor } from '@signalbox/local';
import { readTrust } from '@signalbox/run-state';
import { sha256Hex } from '@signalbox/runtime';
import { monitorRedis } from '../support/redis-monitor.ts';
import { type ApiClient, createClient } from './client.ts';
import { FULL, settled, startSystem, taggedAgent, THREE_STEPS, violations } from './stack.ts';

/** Of no form that is known as a secret: it can only be taken out because it is held. */
const OWN = 'acme+own/key=number-one';
const NEXT = 'acme+own/key=number-two';
const ENV = 'key-of-the-fake';
const PATH = '/v1/providers/anthropic/key';
/** What the route promises, and what a call takes from its key to the provider on a busy machine. */
const IN_USE_MS = 5000;
const ON_THE_WAY_MS = FULL ? 3000 : 30_000;

const system = await startSystem({
  provider: {
    // As OpenAI does with a wrong key, and as nobody should.
    behave: ({ instructions, key }) =>
      instructions.includes('#tag echo')
        ? { status: 400, text: `your key is ${key === sha256Hex(NEXT) ? NEXT : OWN}` }
        : undefined,
  },
});
after(() => system.stop());
const { provider, partition, db, stack } = system;

/** Everything that anybody says to Redis, from before the first key on. */
let commands = '';
const monitor = await monitorRedis(system.redis.url, (args) => {
  commands += `${args.join(' ')}\n`;
});
after(() => monitor.close());

const openTenant = async (tenantId: string): Promise<ApiClient> => {
  const defaultCaps = { runNano: fromUsd(1), userDailyNano: fromUsd(20), tenantDailyNano: fromUsd(200) };
  const { secret } = await createApiKey({ partition, db, defaultCaps }, { tenantId, scopes: ['admin'] });
  return createClient(stack.apiUrl, secret);
};
const [acme, other] = [await openTenant('acme'), await openTenant('other')];

const ids: string[] = [];
let tags = 0;
/** Runs to its end; answers which keys its calls were made with. */
const play = async (api: ApiClient, tag = `run-${(tags += 1)}`): Promise<{ run: Run; keys: string[] }> => {
  const { id } = await api.submit({ agent: taggedAgent(tag), input: THREE_STEPS });
  ids.push(id);
  const run = await api.end(id);
  const calls = provider.ledger.filter(({ body }) => JSON.stringify(body).includes(`#tag ${tag}"`));
  return { run, keys: calls.map(({ key }) => key) };
};
const twice = (key: string): string[] => [sha256Hex(key), sha256Hex(key)];

const change = async (method: string, secret?: string): Promise<number> => {
  const { status, json } = await acme.request(PATH, {
    method,
    ...(secret === undefined ? {} : { body: { key: secret } }),
  });
  assert.deepEqual([status, json['key']], [200, secret === undefined ? 'env' : 'vault']);
  return Date.now();
};

/** Runs go on until the promise must hold; none that begins after it is made with another key. */
const untilInUse = async (secret: string, changedAt: number): Promise<number> => {
  const from = provider.ledger.length;
  await waitFor(
    async () => {
      await Promise.all([play(acme), play(acme), play(acme)]);
      return Date.now() > changedAt + IN_USE_MS ? true : undefined;
    },
    { what: 'the new key to be in use', timeoutMs: 60_000, everyMs: 50 },
  );
  const calls = provider.ledger.slice(from);
  const late = calls
    .filter(({ key }) => key !== sha256Hex(secret))
    .map(({ startedAt }) => startedAt - changedAt);
  const longest = Math.max(0, ...late);
  assert.ok(longest <= IN_USE_MS + ON_THE_WAY_MS, `another key ${longest} ms after the change`);
  assert.ok(calls.some(({ key }) => key === sha256Hex(secret)));
  assert.deepEqual((await play(acme)).keys, twice(secret));
  return longest;
};

const late: number[] = [];

test("a tenant's calls are made with its key from when it is set to when it is removed; others' are not", async () => {
  assert.deepEqual((await play(acme)).keys, twice(ENV));
  late.push(await untilInUse(OWN, await change('PUT', OWN)));
  const [own, others] = await Promise.all([play(acme), play(other)]);
  assert.deepEqual([own.keys, others.keys], [twice(OWN), twice(ENV)]);
  late.push(await untilInUse(NEXT, await change('PUT', NEXT)));
  late.push(await untilInUse(ENV, await change('DELETE')));
  late.push(await untilInUse(NEXT, await change('PUT', NEXT)));
});

test('a ping is one request with the key in use, and nothing is billed', async () => {
  await settled(system, ids);
  const rows = () => db.selectFrom('cost_ledger').selectAll().orderBy('hold_id').execute();
  const [before, calls] = [await rows(), provider.ledger.length];
  const { status, json } = await acme.request('/v1/providers/anthropic/ping', { method: 'POST' });
  assert.deepEqual([status, (json['last_ping'] as { ok: boolean }).ok], [200, true]);
  assert.deepEqual(provider.pings, [{ key: sha256Hex(NEXT), status: 200 }]);
  assert.deepEqual([await rows(), provider.ledger.length], [before, calls]);
});

test('a Redis that was emptied has the key again before any call is made', async () => {
  await settled(system, ids.splice(0));
  const from = provider.ledger.length;
  await partition.redis.flushall();
  await waitFor(async () => ((await readTrust(partition)) === null ? undefined : true), {
    what: 'Redis to be trusted again',
    timeoutMs: 60_000,
  });
  await Promise.all([play(acme), play(acme), play(acme)]);
  const keys = new Set(provider.ledger.slice(from).map(({ key }) => key));
  assert.deepEqual(keys, new Set([sha256Hex(NEXT)]));
});

test('the journal says which key each call was made with', async () => {
  const { run } = await play(acme);
  const events = await acme.events(run.id);
  const named = events.filter(({ type }) => type === 'llm.requested').map(({ data }) => data['provider_key']);
  const { json } = await acme.request('/v1/audit?category=admin&limit=100');
  const changes = (json['data'] as { type: string; data: Record<string, unknown> }[])
    .filter(({ type }) => type === 'provider_key.changed')
    .map(({ data }) => [data['change'], data['key_id']]);
  const id = changes[0]?.[1];
  assert.deepEqual(named, [
    { source: 'vault', id },
    { source: 'vault', id },
  ]);
  assert.deepEqual(
    changes.map(([what]) => what),
    ['set', 'removed', 'set', 'set'],
  );
  assert.equal(changes[2]?.[1], id);
});

/** Every value of every row. */
const allRows = async (): Promise<string> => {
  const texts: string[] = [];
  for (const { name, schema } of await db.introspection.getTables()) {
    const rows = await db
      .selectFrom(`${schema}.${name}` as 'runs')
      .selectAll()
      .execute();
    for (const value of rows.flatMap((row) => Object.values<unknown>(row)))
      texts.push(Buffer.isBuffer(value) ? value.toString('latin1') : JSON.stringify(value));
  }
  return texts.join('\n');
};

test('its text is nowhere: not in Postgres, not in any command to Redis, not in a log or an answer', async () => {
  const { run } = await play(acme, 'echo');
  assert.equal(run.error?.code, 'provider_error');
  assert.match(run.error?.message ?? '', /your key is \[REDACTED\]/);
  await settled(system, ids);
  const logs = await Promise.all(
    (await readdir(stack.logDir)).map((name) => readFile(join(stack.logDir, name), 'utf8')),
  );
  const answers = await Promise.all(
    ['/v1/providers', '/v1/audit?limit=1000', '/v1/audit/export', `/v1/runs/${run.id}/events`].map(
      async (path) => JSON.stringify((await acme.request(path)).json),
    ),
  );
  const places = { rows: await allRows(), commands, logs: logs.join(''), answers: answers.join('') };
  assert.ok(places.commands.includes('provider_keys:acme') && places.logs.length > 0);
  for (const [place, text] of Object.entries(places)) {
    for (const secret of [OWN, NEXT]) {
      for (const form of [secret, encodeURIComponent(secret), Buffer.from(secret).toString('base64')])
        assert.ok(!text.includes(form), `${form} in ${place}`);
    }
  }
});

test('the books agree', async () => {
  assert.deepEqual(await violations(system, null, {}), []);
  process.stdout.write(
    `provider keys: ${tags + 1} runs, ${provider.ledger.length} calls; last call with the key before, after a change: ${late.join(', ')} ms\n`,
  );
});

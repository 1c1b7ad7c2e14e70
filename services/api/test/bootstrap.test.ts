import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { createPool, findApiKeyByHash } from '@signalbox/audit-store';
import { ManualClock, sha256Hex } from '@signalbox/runtime';
import { keyOf } from '../src/keys/api-keys.ts';
import { type Bootstrap, type BootstrapDeps, startBootstrap } from '../src/keys/bootstrap.ts';
import { storeAll } from './audit.ts';
import { type Harness, openHarness } from './harness.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

const stored = (secret: string) => findApiKeyByHash(h.db, sha256Hex(secret));

/** Connections for loops that would run side by side: who has to wait for one comes too late to get in another's way. */
const warmUp = (): Promise<unknown> => Promise.all(Array.from({ length: 6 }, () => stored('nobody')));

const works = (bootstrap: Bootstrap): Promise<boolean> =>
  bootstrap.check().then(
    () => true,
    () => false,
  );

const depsOf = (changes: Partial<BootstrapDeps> = {}): BootstrapDeps => ({
  ...h.deps,
  stopping: h.deps.closing,
  ...changes,
});

/** How often the making of the key is in the trail. */
const made = async (secret: string): Promise<number> => {
  const { redis, root } = h.deps.partition;
  const stream = await redis.xrange(`${root}:audit`, '-', '+');
  return stream.filter(([, fields]) => {
    const text = fields.join(' ');
    return text.includes('key.created') && text.includes(keyOf(secret).id);
  }).length;
};

test('a Redis that becomes ready at the start does not make the first key twice', async () => {
  await warmUp();
  const bootstrap = startBootstrap(depsOf(), 'first-key');
  for (let n = 0; n < 5; n += 1) bootstrap.again();
  while ((await stored('first-key')) === null) await setImmediate();
  assert.equal(await made('first-key'), 1);
  while (!(await works(bootstrap))) await setImmediate();
  assert.equal((await h.call('GET', '/v1/keys', { key: 'first-key' })).status, 200);
});

test('two apis that start together both note the first key, and the audit log has it once', async () => {
  const { id } = keyOf('shared-key');
  for (const times of [1, 2]) {
    // Each has looked before the other stored it.
    await h.db.deleteFrom('api_keys').where('id', '=', id).execute();
    startBootstrap(depsOf(), 'shared-key');
    while ((await stored('shared-key')) === null) await setImmediate();
    assert.equal(await made('shared-key'), times);
  }
  await storeAll(h);
  const response = await h.call('GET', '/v1/audit?type=key.created', { key: 'shared-key' });
  const { data } = (await response.json()) as { data: readonly { data: { key_id: string } }[] };
  assert.equal(data.filter((event) => event.data.key_id === id).length, 1);
});

test('while Postgres is away each Redis that comes back adds no loop', async () => {
  const db = createPool({ databaseUrl: 'postgres://nobody@127.0.0.1:1/nothing', role: 'api' });
  const clock = new ManualClock();
  const stopping = new AbortController();
  try {
    const bootstrap = startBootstrap(depsOf({ db, clock, stopping: stopping.signal }), 'waiting-key');
    for (let n = 0; n < 5; n += 1) {
      bootstrap.again();
      await clock.whenSleeping();
      await clock.advance(60_000);
      await clock.whenSleeping();
      assert.equal(clock.sleeping, 1);
    }
  } finally {
    stopping.abort();
    await db.destroy();
  }
});

test('what is asked for during a round is done once more after it', async () => {
  startBootstrap(depsOf(), 'revoked-key');
  while ((await stored('revoked-key')) === null) await setImmediate();
  const { id } = keyOf('revoked-key');
  assert.equal((await h.call('DELETE', `/v1/keys/${id}`)).status, 200);
  // Each round that finds it revoked says so.
  const rounds = (): number => h.logs.filter((line) => line.includes('BOOTSTRAP_API_KEY was revoked')).length;
  const bootstrap = startBootstrap(depsOf(), 'revoked-key');
  bootstrap.again();
  while (rounds() < 2) await setImmediate();
  bootstrap.again();
  while (rounds() < 3) await setImmediate();
  assert.equal((await h.call('GET', '/v1/keys', { key: 'revoked-key' })).status, 401);
});

/** Counters of days and months are there while they count, and not much longer: users may be made up without end. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { beginVerification, type Partition, restoreCounters } from '../src/index.ts';
import { DAY } from './drafts.ts';
import { keyOf, money, TENANT_DAY } from './inspect.ts';
import { ask, settled } from './steps.ts';
import { cap, freshPartition, running } from './support.ts';

const MONTH = DAY.slice(0, 7);
const DAYS = [TENANT_DAY, `spend:user:acme:${DAY}:u1`];
const MONTHS = [`spend:tenant_month:acme:${MONTH}`, `spend:user_month:acme:${MONTH}:u1`];
const DAY_SECONDS = 86_400;

const spendKeys = (partition: Partition): Promise<string[]> =>
  partition.redis.keys(keyOf(partition, 'spend:*'));

const assertExpiries = async (partition: Partition): Promise<void> => {
  for (const [scopes, over, most] of [
    [DAYS, 3, 40],
    // The first of a month may be the first that is spent in it.
    [MONTHS, 62, 70],
  ] as const) {
    for (const scope of scopes) {
      const ttl = await partition.redis.ttl(keyOf(partition, scope));
      assert.ok(ttl > over * DAY_SECONDS && ttl <= most * DAY_SECONDS, `${scope}: ${ttl}`);
    }
  }
};

test('a scope expires after its day or month is over, in less than a quarter of a year', async () => {
  const partition = await freshPartition();
  const owner = await running(partition, { userId: 'u1' });
  await ask(owner, 100);
  await assertExpiries(partition);
  await settled(owner, 30);
  await assertExpiries(partition);
  const verification = await beginVerification(partition);
  for (const scope of [...DAYS, ...MONTHS]) await partition.redis.persist(keyOf(partition, scope));
  await restoreCounters(partition, verification, { days: [], runs: new Map() });
  await assertExpiries(partition);
  assert.equal((await spendKeys(partition)).length, 4);
});

test('a user named like a month scope has a day all the same', async () => {
  const partition = await freshPartition();
  const userId = 'spend:user_month:x';
  const owner = await running(partition, { userId });
  await ask(owner, 100);
  const ttl = await partition.redis.ttl(keyOf(partition, `spend:user:acme:${DAY}:${userId}`));
  assert.ok(ttl > 3 * DAY_SECONDS && ttl <= 40 * DAY_SECONDS, String(ttl));
});

test('a call that cost nothing leaves no counter of a day or month', async () => {
  const partition = await freshPartition();
  const owner = await running(partition, { userId: 'u1' });
  await ask(owner, 100);
  assert.equal((await spendKeys(partition)).length, 4);
  await settled(owner, 0);
  assert.deepEqual(await spendKeys(partition), []);
  assert.deepEqual(await money(partition, `run:${owner.run.runId}`), { spent: 0, held: 0 });
});

test('what another call spent or holds in the scope stays', async () => {
  const partition = await freshPartition();
  await cap(partition, { tenantDailyNano: 100 });
  const owner = await running(partition, { userId: 'u1' });
  const other = await running(partition, { userId: 'u2' });
  await ask(owner, 60);
  await ask(other, 40);
  await settled(owner, 0);
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 0, held: 40 });
  assert.equal((await spendKeys(partition)).length, 4, 'the tenant and u2');
  await settled(other, 7);
  await ask(owner, 93, { id: 'h2', step: 2 });
  await settled(owner, 0, { id: 'h2', step: 2 });
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 7, held: 0 });
  assert.equal((await ask(owner, 94, { id: 'h3', step: 3 })).code, 'DENIED');
});

test('a charge that is corrected to nothing leaves nothing', async () => {
  const partition = await freshPartition();
  const owner = await running(partition, { userId: 'u1' });
  await ask(owner, 100);
  await settled(owner, 100, { expired: true });
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 100, held: 0 });
  await settled(owner, 0, { step: 2 });
  assert.deepEqual(await spendKeys(partition), []);
});

test('room that is promised in a scope stays promised when nothing else is in it', async () => {
  const partition = await freshPartition();
  const owner = await running(partition, { userId: 'u1' });
  await ask(owner, 100);
  await partition.redis.hset(keyOf(partition, TENANT_DAY), 'promised', '20');
  await settled(owner, 0);
  assert.deepEqual(await spendKeys(partition), [keyOf(partition, TENANT_DAY)]);
  assert.equal(await partition.redis.hget(keyOf(partition, TENANT_DAY), 'promised'), '20');
});

test('a verification brings back no counter of what cost nothing, and removes those there are', async () => {
  const partition = await freshPartition();
  const stale = `spend:user:acme:${DAY}:u2`;
  await partition.redis.hset(keyOf(partition, stale), { spent: '0', held: '0' });
  const verification = await beginVerification(partition);
  const days = [{ tenantId: 'acme', userId: 'u1', day: DAY, spentNano: 0 }];
  await restoreCounters(partition, verification, { days, runs: new Map() });
  assert.deepEqual(await spendKeys(partition), []);
});

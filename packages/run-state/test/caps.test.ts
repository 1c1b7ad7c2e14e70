import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SignalboxError } from '@signalbox/contracts';
import {
  ensureTenantCaps,
  getTenantCaps,
  getUserCaps,
  readSpend,
  replaceCaps,
  setTenantCaps,
  setUserCaps,
} from '../src/index.ts';
import { DAY, requested } from './drafts.ts';
import { keyOf } from './inspect.ts';
import { freshPartition, running, TENANT } from './support.ts';

const START = { runNano: 1, userDailyNano: 2, tenantDailyNano: 3, timeZone: 'UTC' };
const LARGEST = 9_000_000_000_000_000;

test('a new tenant begins with its caps; months and concurrency are open until they are set', async () => {
  const partition = await freshPartition();
  await ensureTenantCaps(partition, 'new', START);
  await ensureTenantCaps(partition, 'new', { ...START, runNano: 99, maxRuns: 5, timeZone: 'Asia/Tokyo' });
  assert.deepEqual(await getTenantCaps(partition, 'new'), {
    ...START,
    userMonthlyNano: null,
    tenantMonthlyNano: null,
    maxRuns: null,
    userMaxRuns: null,
    nextTimeZone: null,
  });
});

test('what is left out of a change stays; every amount is exact', async () => {
  const partition = await freshPartition();
  await setTenantCaps(partition, TENANT, { tenantMonthlyNano: LARGEST, maxRuns: 0, userMaxRuns: 3 });
  await setTenantCaps(partition, TENANT, { userMonthlyNano: 1_234_567_890_123_457, maxRuns: null });
  const caps = await getTenantCaps(partition, TENANT);
  assert.deepEqual(
    [caps.tenantMonthlyNano, caps.userMonthlyNano, caps.maxRuns, caps.userMaxRuns],
    [LARGEST, 1_234_567_890_123_457, null, 3],
  );
  for (const runNano of [-1, 0.5, LARGEST + 1, Number.NaN]) {
    await assert.rejects(setTenantCaps(partition, TENANT, { runNano }), SignalboxError);
  }
});

test('a cap of money that was never set is named, not guessed (R1)', async () => {
  const partition = await freshPartition();
  await partition.redis.hdel(keyOf(partition, `caps:${TENANT}`), 'tenant_monthly');
  await assert.rejects(
    getTenantCaps(partition, TENANT),
    (error) =>
      error instanceof SignalboxError && error.code === 'cap_missing' && /monthly/.test(error.message),
  );
});

test('a change of zone is in force from its instant on, by the clock of the server', async () => {
  const partition = await freshPartition();
  const next = { timeZone: 'Asia/Tokyo', fromMs: Date.now() + 3_600_000 };
  await setTenantCaps(partition, TENANT, { nextTimeZone: next });
  const ahead = await getTenantCaps(partition, TENANT);
  assert.deepEqual([ahead.timeZone, ahead.nextTimeZone], ['UTC', next]);
  await setTenantCaps(partition, TENANT, { nextTimeZone: { ...next, fromMs: Date.now() - 2000 } });
  const arrived = await getTenantCaps(partition, TENANT);
  assert.deepEqual([arrived.timeZone, arrived.nextTimeZone], ['Asia/Tokyo', null]);
  await setTenantCaps(partition, TENANT, { nextTimeZone: null });
  assert.equal((await getTenantCaps(partition, TENANT)).timeZone, 'UTC');
});

test("a user's own caps are its own: set as a whole, cleared, nobody else's", async () => {
  const partition = await freshPartition();
  const user = { tenantId: TENANT, userId: 'a:b/ü' };
  const unset = { dailyNano: undefined, monthlyNano: undefined, runNano: undefined };
  assert.deepEqual(await getUserCaps(partition, user), unset);
  await setUserCaps(partition, user, { dailyNano: 5, monthlyNano: null });
  assert.deepEqual(await getUserCaps(partition, user), {
    dailyNano: 5,
    monthlyNano: null,
    runNano: undefined,
  });
  await setUserCaps(partition, user, { runNano: 7 });
  assert.deepEqual(await getUserCaps(partition, user), { ...unset, runNano: 7 });
  assert.deepEqual(await getUserCaps(partition, { ...user, userId: 'a' }), unset);
  await setUserCaps(partition, user, {});
  assert.deepEqual(await getUserCaps(partition, user), unset);
});

test('after a loss all caps become what is given, and nothing of before is left', async () => {
  const partition = await freshPartition();
  await setTenantCaps(partition, TENANT, { ...START, maxRuns: 4 });
  await setUserCaps(partition, { tenantId: TENANT, userId: 'old' }, { dailyNano: 1 });
  const caps = { ...START, tenantMonthlyNano: 8, users: [{ userId: 'u1', monthlyNano: null }] };
  await replaceCaps(partition, TENANT, caps);
  assert.deepEqual(await partition.redis.hgetall(keyOf(partition, `caps:${TENANT}`)), {
    run: '1',
    user_daily: '2',
    tenant_daily: '3',
    tenant_monthly: '8',
    user_monthly: 'inf',
    max_runs: 'inf',
    user_max_runs: 'inf',
    time_zone: 'UTC',
    'user_month:u1': 'inf',
  });
});

test('thousands of users with caps of their own are put back like one', async () => {
  const partition = await freshPartition();
  const users = Array.from({ length: 5000 }, (_, i) => ({ userId: `u${i}`, dailyNano: i, runNano: null }));
  await replaceCaps(partition, TENANT, { ...START, users });
  const last = { tenantId: TENANT, userId: 'u4999' };
  assert.deepEqual(await getUserCaps(partition, last), {
    dailyNano: 4999,
    monthlyNano: undefined,
    runNano: null,
  });
});

test('spending is read where a hold counts: day and month, of user and tenant', async () => {
  const partition = await freshPartition();
  const owner = await running(partition, { userId: 'u1' });
  await owner.write({ announce: [requested(1)], hold: { id: 'h1', amount: 11, day: DAY } });
  const held = { spentNano: 0, heldNano: 11 };
  const of = { tenantId: TENANT, day: DAY };
  assert.deepEqual(await readSpend(partition, { ...of, userId: null }), { day: held, month: held });
  assert.deepEqual(await readSpend(partition, { ...of, userId: 'u1' }), { day: held, month: held });
  const none = { spentNano: 0, heldNano: 0 };
  assert.deepEqual(await readSpend(partition, { ...of, userId: 'u2' }), { day: none, month: none });
  const nextDay = await readSpend(partition, { ...of, userId: null, day: '2026-01-02' });
  assert.deepEqual(nextDay, { day: none, month: held });
});

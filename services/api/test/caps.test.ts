import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { readTenantCaps, saveTenantCaps } from '@signalbox/audit-store';
import { getTenantCaps } from '@signalbox/run-state';
import { capsClient, nextMidnight, TENANT, today, userPath, type View } from './caps-client.ts';
import { type Harness, openHarness } from './harness.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

const { read, put, newTenant } = capsClient(() => h);

describe('caps of a tenant', () => {
  test('begin with the defaults; nothing spent; the day and the month end in the zone of the tenant', async () => {
    const { options } = await newTenant();
    const { resets_at, month, ...caps } = await read(TENANT, options);
    const nothing = { spent_usd: 0, held_usd: 0 };
    assert.deepEqual(caps, {
      run_usd: 1,
      daily_usd: 200,
      monthly_usd: null,
      max_concurrent_runs: null,
      user_daily_usd: 20,
      user_monthly_usd: null,
      max_concurrent_runs_per_user: null,
      time_zone: 'UTC',
      next_time_zone: null,
      day: today(),
      ...nothing,
      remaining_usd: 200,
    });
    assert.equal(resets_at, nextMidnight());
    const { resets_at: monthEnds, ...ofMonth } = month;
    assert.deepEqual(ofMonth, { ...nothing, remaining_usd: null });
    assert.match(String(monthEnds), /^\d{4}-\d{2}-01T00:00:00\.000Z$/);
    assert.ok(String(monthEnds) >= resets_at);
  });

  test('a change counts at once, keeps what it leaves out, and is the same when repeated', async () => {
    const { tenantId, options } = await newTenant();
    const change = {
      daily_usd: 0.000000001,
      monthly_usd: 9_000_000,
      run_usd: null,
      user_daily_usd: 1234.567890123,
      user_monthly_usd: 3,
      max_concurrent_runs: 12,
      max_concurrent_runs_per_user: 0,
    };
    const first = await put(TENANT, change, options);
    assert.deepEqual(await put(TENANT, change, options), first);
    for (const [name, value] of Object.entries(change)) assert.equal(first[name], value, name);
    const kept = await put(TENANT, { run_usd: 0.5 }, options);
    assert.deepEqual({ ...kept, run_usd: null }, first);
    assert.deepEqual(await put(TENANT, {}, options), kept);
    const caps = await getTenantCaps(h.deps.partition, tenantId);
    assert.deepEqual(
      [caps.tenantDailyNano, caps.tenantMonthlyNano, caps.userDailyNano, caps.maxRuns, caps.userMaxRuns],
      [1, 9_000_000_000_000_000, 1_234_567_890_123, 12, 0],
    );
    const rows = await h.db
      .selectFrom('caps')
      .select(['name', 'amount'])
      .where('tenant_id', '=', tenantId)
      .orderBy('name')
      .execute();
    assert.deepEqual(
      rows.map(({ name, amount }) => [name, amount]),
      [
        ['daily', 1],
        ['max_runs', 12],
        ['monthly', 9_000_000_000_000_000],
        ['run', 500_000_000],
        ['user_daily', 1_234_567_890_123],
        ['user_max_runs', 0],
        ['user_monthly', 3_000_000_000],
      ],
    );
  });

  test('every amount a double can hold to the nano arrives as that nano', async () => {
    const { tenantId, options } = await newTenant();
    for (const daily_usd of [0.1, 0.29, 1.1, 33.333333333, 999_999.999999999, 2_000_000.000000001]) {
      assert.equal((await put(TENANT, { daily_usd }, options))['daily_usd'], daily_usd);
      const [whole = '', fraction = ''] = daily_usd.toFixed(9).split('.');
      const { tenantDailyNano } = await getTenantCaps(h.deps.partition, tenantId);
      assert.equal(String(tenantDailyNano), String(BigInt(whole + fraction)));
    }
  });

  test('of many changes at once the one that Postgres keeps is the one in force', async () => {
    const { tenantId, options } = await newTenant();
    const amounts = [1, 2, 3, 4, 5, 6, 7, 8];
    await Promise.all(amounts.map((daily_usd) => put(TENANT, { daily_usd }, options)));
    const stored = await readTenantCaps(h.db, tenantId);
    assert.equal((await getTenantCaps(h.deps.partition, tenantId)).tenantDailyNano, stored?.tenantDailyNano);
  });

  test('a change whose process died before the mirror is in force after any change that follows', async () => {
    const { tenantId, options } = await newTenant();
    await saveTenantCaps(h.db, {
      tenant: { id: tenantId, partition: 0, timeZone: 'UTC', defaults: {} },
      amounts: { tenantDailyNano: 3_000_000_000 },
      zone: null,
      by: 'key_lost',
    });
    assert.equal((await read(TENANT, options))['daily_usd'], 200);
    assert.equal((await put(TENANT, {}, options))['daily_usd'], 3);
  });

  test('a change of zone waits for the midnight of the zone in force', async () => {
    const { options } = await newTenant();
    const moved = await put(TENANT, { time_zone: 'pacific/kiritimati' }, options);
    assert.equal(moved['time_zone'], 'UTC');
    assert.deepEqual(moved['next_time_zone'], { time_zone: 'Pacific/Kiritimati', from: nextMidnight() });
    assert.equal(moved.day, today());
    assert.equal((await put(TENANT, { time_zone: 'UTC' }, options))['next_time_zone'], null);
  });
});

test("another tenant's caps and users are its own", async () => {
  const a = await newTenant();
  const b = await newTenant();
  await put(TENANT, { daily_usd: 5 }, a.options);
  await put(userPath('shared'), { daily_usd: 4 }, a.options);
  assert.equal((await read(TENANT, b.options))['daily_usd'], 200);
  assert.equal((await read(userPath('shared'), b.options))['daily_usd'], 20);
});

describe('caps of a user', () => {
  test('are the tenant’s until it has its own, and again when those are taken away', async () => {
    const { options } = await newTenant();
    const path = userPath('anna/ü ?');
    const inherited = await read(path, options);
    assert.deepEqual(
      [inherited['user_id'], inherited['run_usd'], inherited['daily_usd'], inherited['monthly_usd']],
      ['anna/ü ?', 1, 20, null],
    );
    assert.deepEqual(inherited['inherited'], ['run_usd', 'daily_usd', 'monthly_usd']);
    await put(path, { daily_usd: null, monthly_usd: 7 }, options);
    const own = await put(path, { run_usd: 0.25 }, options);
    assert.deepEqual([own['run_usd'], own['daily_usd'], own['monthly_usd']], [0.25, null, 7]);
    assert.deepEqual([own['inherited'], own['remaining_usd'], own.month['remaining_usd']], [[], null, 7]);
    await put(TENANT, { user_daily_usd: 11 }, options);
    assert.equal((await read(path, options))['daily_usd'], null);
    const dropped = (await (await h.call('DELETE', path, options)).json()) as View;
    assert.equal(dropped['daily_usd'], 11);
    assert.deepEqual(dropped['inherited'], inherited['inherited']);
  });

  test('the run cap counts at submission, and only ever tightens', async () => {
    const { options } = await newTenant();
    const capOf = async (body: object): Promise<number | null> =>
      (await h.submit(body, options)).cost.cap_usd;
    await put(userPath('tight'), { run_usd: 0.2 }, options);
    await put(userPath('loose'), { run_usd: 5 }, options);
    await put(userPath('open'), { run_usd: null }, options);
    assert.equal(await capOf({ user_id: 'tight' }), 0.2);
    assert.equal(await capOf({ user_id: 'tight', limits: { cost_usd: 0.1 } }), 0.1);
    assert.equal(await capOf({ user_id: 'loose' }), 1);
    assert.equal(await capOf({ user_id: 'open' }), 1);
    assert.equal(await capOf({}), 1);
    await put(TENANT, { run_usd: null }, options);
    assert.equal(await capOf({ user_id: 'loose' }), 5);
    assert.equal(await capOf({ user_id: 'open' }), null);
  });
});

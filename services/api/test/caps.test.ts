import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { createPool, readTenantCaps, saveTenantCaps } from '@signalbox/audit-store';
import { fromUsd, type Run } from '@signalbox/contracts';
import { getTenantCaps } from '@signalbox/run-state';
import { createApp } from '../src/app.ts';
import { storeAll } from './audit.ts';
import { type CallOptions, type Harness, openHarness } from './harness.ts';
import { finish, own } from './run-writer.ts';
import { allFrames } from './sse.ts';

let h: Harness;
before(async () => {
  h = await openHarness();
});
after(() => h.close());

type View = Record<string, unknown> & { month: Record<string, unknown>; resets_at: string; day: string };

const TENANT = '/v1/caps/tenant';
const userPath = (id: string): string => `/v1/caps/users/${encodeURIComponent(id)}`;

const read = async (path: string, options: CallOptions = {}): Promise<View> => {
  const response = await h.call('GET', path, options);
  assert.equal(response.status, 200);
  return (await response.json()) as View;
};

const put = async (path: string, json: object, options: CallOptions = {}): Promise<View> => {
  const response = await h.call('PUT', path, { ...options, json });
  const view = (await response.json()) as View;
  assert.equal(response.status, 200, JSON.stringify(view));
  return view;
};

/** A tenant of its own, with its administrator's key. */
let made = 0;
const newTenant = async (): Promise<{ tenantId: string; options: { key: string } }> => {
  const tenantId = `caps-${(made += 1)}`;
  return { tenantId, options: { key: await h.key(tenantId, ['admin']) } };
};

const today = (): string => new Date().toISOString().slice(0, 10);
const nextMidnight = (): string => new Date(Math.ceil(Date.now() / 86_400_000) * 86_400_000).toISOString();

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

describe('what is refused', () => {
  const BAD: readonly [name: string, body: unknown, path: string][] = [
    ['above what can be counted', { daily_usd: 9_000_001 }, 'daily_usd'],
    ['negative', { run_usd: -0.1 }, 'run_usd'],
    ['text', { monthly_usd: '5' }, 'monthly_usd'],
    ['finer than a nano-USD', { daily_usd: 0.0000000001 }, 'daily_usd'],
    ['an unknown field', { weekly_usd: 1 }, 'weekly_usd'],
    ['half a run', { max_concurrent_runs: 1.5 }, 'max_concurrent_runs'],
    ['an unknown zone', { time_zone: 'Mars/Olympus' }, 'time_zone'],
    ['an offset for a zone', { time_zone: '+02:00' }, 'time_zone'],
  ];
  for (const [name, json, path] of BAD) {
    test(name, async () => {
      const before = await read(TENANT);
      const response = await h.call('PUT', TENANT, { json });
      const problem = (await response.json()) as { code: string; errors: { path: string }[] };
      assert.deepEqual([response.status, problem.code], [422, 'invalid_request']);
      assert.ok(problem.errors.some((error) => error.path === path));
      assert.deepEqual(await read(TENANT), before);
    });
  }

  test('what only a tenant has, for a user; a name no user has', async () => {
    for (const field of ['user_daily_usd', 'max_concurrent_runs', 'time_zone']) {
      assert.equal((await h.call('PUT', userPath('u'), { json: { [field]: null } })).status, 422, field);
    }
    assert.equal((await h.call('GET', userPath('x'.repeat(257)))).status, 404);
  });

  test('a key without the scope', async () => {
    const reader = await h.key('default', ['runs:read']);
    const writer = await h.key('default', ['runs:write', 'agents:write', 'audit:read']);
    assert.equal((await h.call('GET', TENANT, { key: reader })).status, 200);
    assert.equal((await h.call('GET', TENANT, { key: writer })).status, 403);
    for (const path of [TENANT, userPath('u')]) {
      assert.equal((await h.call('PUT', path, { key: reader, json: {} })).status, 403);
    }
    assert.equal((await h.call('DELETE', userPath('u'), { key: reader })).status, 403);
  });

  test('a change that Postgres does not take: nothing is in force', async () => {
    const away = createPool({ databaseUrl: 'postgres://nobody@127.0.0.1:1/none', role: 'api' });
    const app = createApp({ ...h.deps, db: away });
    const before = await read(TENANT);
    const response = await app.fetch(
      new Request(`http://api${TENANT}`, {
        method: 'PUT',
        headers: { authorization: 'Bearer test-admin-key' },
        body: JSON.stringify({ daily_usd: 7 }),
      }),
    );
    assert.equal(response.status, 503);
    assert.equal(((await response.json()) as { code: string }).code, 'audit_store_unavailable');
    assert.deepEqual(await read(TENANT), before);
    await away.destroy();
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

describe('spending', () => {
  for (const [scope, path, field] of [
    ['tenant_day', TENANT, 'daily_usd'],
    ['tenant_month', TENANT, 'monthly_usd'],
    ['user_day', userPath('u1'), 'daily_usd'],
    ['user_month', userPath('u1'), 'monthly_usd'],
  ] as const) {
    test(`a cap of ${scope} lowered below what is spent denies from then on; raised again it admits`, async () => {
      const { options } = await newTenant();
      const submit = () => h.submit({ user_id: 'u1' }, options);
      const first = await own(h, (await submit()).id, { day: today() });
      assert.equal((await first.request(1)).code, 'OK');
      const held = await read(path, options);
      assert.deepEqual([held['spent_usd'], held['held_usd']], [0, 0.001]);
      await first.complete(1, 'paid', true);
      const lowered = await put(path, { [field]: 0.002 }, options);
      const view = field === 'daily_usd' ? lowered : lowered.month;
      assert.deepEqual([view['spent_usd'], view['held_usd'], view['remaining_usd']], [0.0021, 0, 0]);
      const second = await own(h, (await submit()).id, { day: today() });
      const denied = await second.request(1);
      assert.equal(denied.code, 'DENIED');
      assert.deepEqual(
        denied.scopes.find((room) => room.scope === scope),
        { scope, capNano: fromUsd(0.002), spentNano: fromUsd(0.0021), heldNano: 0 },
      );
      await put(path, { [field]: 0.0031 }, options);
      assert.equal((await second.request(1)).code, 'OK', 'exactly what is left fits');
    });
  }

  test('a denial reaches whoever follows the run', async () => {
    const run = await h.submit();
    const writer = await own(h, run.id);
    const data = {
      step: 1,
      code: 'cost_cap_exceeded',
      scope: 'tenant_day',
      cap_nano: 1,
      spent_nano: 1,
      held_nano: 0,
      need_nano: 5,
      resets_at: nextMidnight(),
    } as const;
    const stream = await h.call('GET', `/v1/runs/${run.id}/events`, {
      headers: { accept: 'text/event-stream' },
    });
    const reading = allFrames(stream);
    await writer.deny(data);
    await writer.complete(1, '', true);
    const frames = await reading;
    const denial = frames.find(({ event }) => event === 'cost.denied');
    assert.deepEqual((JSON.parse(denial?.data ?? '{}') as { data: unknown }).data, data);
  });
});

describe('costs', () => {
  interface Costs {
    data: Record<string, string | number | null>[];
    next_cursor: string | null;
  }
  const costs = async (query: string, options: CallOptions = {}): Promise<Costs> => {
    const response = await h.call('GET', `/v1/costs?${query}`, options);
    const answer = (await response.json()) as Costs;
    assert.equal(response.status, 200, JSON.stringify(answer));
    return answer;
  };

  test('come from the ledger, grouped as asked, of the caller’s tenant only', async () => {
    const { options } = await newTenant();
    await h.call('PUT', '/v1/agents/paid', { ...options, json: { model: 'mock/echo' } });
    const runs: Run[] = [
      await h.submit({ user_id: 'anna', agent: 'paid' }, options),
      await h.submit({ user_id: 'bert' }, options),
      await h.submit({}, options),
    ];
    for (const { id } of runs) await finish(h, id);
    const open = await own(h, (await h.submit({ user_id: 'anna' }, options)).id);
    await open.request(1);
    await storeAll(h);
    const sums = { estimated_usd: 0, held_usd: 0, calls: 1, observed_usd: 0.0021 };
    assert.deepEqual(await costs('group_by=user_id,agent', options), {
      data: [
        { ...sums, user_id: null, agent: null },
        { ...sums, user_id: 'anna', agent: null, observed_usd: 0, held_usd: 0.001, calls: 0 },
        { ...sums, user_id: 'anna', agent: 'paid' },
        { ...sums, user_id: 'bert', agent: null },
      ],
      next_cursor: null,
    });
    const total = { ...sums, observed_usd: 0.0063, held_usd: 0.001, calls: 3 };
    assert.deepEqual((await costs('', options)).data, [total]);
    const ofDay = [{ ...total, day: '2026-01-01', model: 'mock/echo' }];
    assert.deepEqual((await costs('group_by=day,model', options)).data, ofDay);
    assert.deepEqual((await costs('group_by=day&from=2026-01-02', options)).data, []);
    const other = await newTenant();
    assert.deepEqual((await costs('group_by=day', other.options)).data, []);

    const first = await costs('group_by=user_id&limit=2', options);
    assert.equal(first.data.length, 2);
    const rest = await costs(`group_by=user_id&limit=2&cursor=${first.next_cursor ?? ''}`, options);
    assert.deepEqual(
      [...first.data, ...rest.data].map((row) => row['user_id']),
      [null, 'anna', 'bert'],
    );
    assert.equal(rest.next_cursor, null);
    const elsewhere = await h.call(
      'GET',
      `/v1/costs?group_by=day&cursor=${first.next_cursor ?? ''}`,
      options,
    );
    assert.equal(elsewhere.status, 422, 'a cursor of another list');
  });

  test('bad groupings, days, limits and scopes are refused', async () => {
    for (const query of [
      'group_by=colour',
      'group_by=day,day',
      'group_by=',
      'group_by=day,',
      'from=yesterday',
      'to=2026-02-30',
      'from=2026-02-02&to=2026-02-01',
      'limit=0',
      'cursor=x',
      'user_id=u1',
    ]) {
      const response = await h.call('GET', `/v1/costs?${query}`);
      assert.equal(response.status, 422, query);
      assert.equal(((await response.json()) as { code: string }).code, 'invalid_request', query);
    }
    const key = await h.key('default', ['runs:write']);
    assert.equal((await h.call('GET', '/v1/costs', { key })).status, 403);
  });
});

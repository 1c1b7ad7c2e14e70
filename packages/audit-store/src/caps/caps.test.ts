import assert from 'node:assert/strict';
import { before, describe, test } from 'node:test';
import { sql } from 'kysely';
import { migratedDatabase } from '../../test/support.ts';
import { publishAgentVersion, readNewestVersions } from '../tenants/agents.ts';
import { listApiKeys, upsertApiKey } from '../keys/api-keys.ts';
import type { TenantAmounts } from './cap-rows.ts';
import { deleteUserCaps, ensureTenantWithCaps, saveTenantCaps, saveUserCaps } from './caps.ts';
import { withCapsLocked } from './caps-lock.ts';
import type { Db } from '../db/pool.ts';
import { listCaps, readTenantCaps, readUserCaps } from './read-caps.ts';
import { ensureTenant } from '../tenants/tenants.ts';

const DEFAULTS = { runNano: 1, userDailyNano: 2, tenantDailyNano: 3 };
const tenantOf = (id: string) => ({ id, partition: 0, timeZone: 'UTC', defaults: DEFAULTS });
const NOW = new Date('2026-11-21T10:00:00Z');
const MIDNIGHT = new Date('2026-11-22T00:00:00Z');

let db: Db;
before(async () => {
  db = await migratedDatabase();
});

const save = (id: string, amounts: TenantAmounts, by = 'key_1') =>
  saveTenantCaps(db, { tenant: tenantOf(id), amounts, zone: null, by });
const moveTo = (id: string, timeZone: string, now = NOW) =>
  saveTenantCaps(db, {
    tenant: tenantOf(id),
    amounts: {},
    zone: { timeZone, now, dayEnd: () => MIDNIGHT },
    by: 'key_1',
  });

const updates = (id: string) =>
  db
    .selectFrom('caps')
    .select(['name', 'updated_by'])
    .where('tenant_id', '=', id)
    .where('updated_by', '<>', '')
    .orderBy('name')
    .execute();

test('a tenant begins with its defaults, which never undo what was decided since', async () => {
  await ensureTenantWithCaps(db, tenantOf('begin'));
  await save('begin', { tenantDailyNano: null });
  await ensureTenantWithCaps(db, { ...tenantOf('begin'), defaults: { ...DEFAULTS, tenantDailyNano: 99 } });
  assert.deepEqual(await readTenantCaps(db, 'begin'), {
    tenantId: 'begin',
    partition: 0,
    timeZone: 'UTC',
    nextTimeZone: null,
    ...DEFAULTS,
    tenantDailyNano: null,
    users: [],
  });
});

test('none is not the same as unset; what is left out stays; amounts are exact up to the largest', async () => {
  await save('exact', { maxRuns: 7, tenantMonthlyNano: 9_000_000_000_000_000 });
  await save('exact', { runNano: 1_234_567_890_123_457 });
  const caps = await readTenantCaps(db, 'exact');
  assert.equal(caps?.tenantMonthlyNano, 9_000_000_000_000_000);
  assert.equal(caps.runNano, 1_234_567_890_123_457);
  assert.equal(caps.maxRuns, 7);
  assert.ok(!('userMonthlyNano' in caps) && !('userMaxRuns' in caps));
  await save('exact', { userMonthlyNano: null });
  assert.equal((await readTenantCaps(db, 'exact'))?.userMonthlyNano, null);
  await assert.rejects(save('exact', { runNano: 9_000_000_000_000_001 }), /caps_amount_check/);
  await assert.rejects(save('exact', { runNano: -1 }), /caps_amount_check/);
});

test('the same again changes nothing, not even who did it', async () => {
  await save('again', { runNano: 50 }, 'key_1');
  await save('again', { runNano: 50 }, 'key_2');
  assert.deepEqual(await updates('again'), [{ name: 'run', updated_by: 'key_1' }]);
});

test("a user's own caps: set, kept, taken away, and never another tenant's", async () => {
  const user = { tenantId: 'users', userId: 'a/ü:1' };
  const write = (amounts: object) =>
    saveUserCaps(db, { tenant: tenantOf('users'), userId: user.userId, amounts, by: 'key_1' });
  await write({ dailyNano: 5, runNano: null });
  await write({ monthlyNano: 6 });
  assert.deepEqual(await readUserCaps(db, user), { runNano: null, dailyNano: 5, monthlyNano: 6 });
  assert.deepEqual(await readUserCaps(db, { ...user, tenantId: 'exact' }), {});
  await deleteUserCaps(db, { ...user, tenantId: 'exact' });
  const listed = (await listCaps(db)).find(({ tenantId }) => tenantId === 'users');
  assert.deepEqual(listed, {
    tenantId: 'users',
    partition: 0,
    timeZone: 'UTC',
    nextTimeZone: null,
    ...DEFAULTS,
    users: [{ userId: user.userId, runNano: null, dailyNano: 5, monthlyNano: 6 }],
  });
  await deleteUserCaps(db, user);
  assert.deepEqual(await readUserCaps(db, user), {});
  assert.deepEqual((await readTenantCaps(db, 'users'))?.runNano, DEFAULTS.runNano, "the tenant's stay");
});

describe('a change of zone', () => {
  const zones = async (id: string) => {
    const caps = await readTenantCaps(db, id);
    return [caps?.timeZone, caps?.nextTimeZone?.timeZone, caps?.nextTimeZone?.fromMs];
  };
  test('waits for the end of the day, is called off by the zone in force, and arrives', async () => {
    await moveTo('zone', 'Asia/Tokyo');
    assert.deepEqual(await zones('zone'), ['UTC', 'Asia/Tokyo', MIDNIGHT.getTime()]);
    await moveTo('zone', 'UTC');
    assert.deepEqual(await zones('zone'), ['UTC', undefined, undefined]);
    await moveTo('zone', 'Asia/Tokyo');
    await moveTo('zone', 'Europe/Rome', MIDNIGHT);
    assert.equal((await zones('zone'))[0], 'Asia/Tokyo', 'the change before had arrived');
    assert.equal((await zones('zone'))[1], 'Europe/Rome');
  });
});

test('a tenant without caps is not listed, so that nothing mirrors its lack of them', async () => {
  await ensureTenant(db, { id: 'bare', partition: 0, timeZone: 'UTC' });
  assert.equal(await readTenantCaps(db, 'bare'), null);
  assert.ok(!(await listCaps(db)).some(({ tenantId }) => tenantId === 'bare'));
});

test('while caps are listed in a transaction, none changes', async () => {
  const order: string[] = [];
  let change: Promise<void> | undefined;
  await db.transaction().execute(async (tx) => {
    await listCaps(tx);
    change = save('locked', { runNano: 1 }).then(() => void order.push('changed'));
    await withPause(tx);
    order.push('listed');
  });
  await change;
  await withCapsLocked(db, async () => void order.push('after'));
  assert.deepEqual(order, ['listed', 'changed', 'after']);
});

/** Until the other transaction waits for our lock. */
const withPause = async (tx: Db): Promise<void> => {
  for (;;) {
    const { rows } = await sql<{ waiting: number }>`
      select count(*) as waiting from pg_locks join pg_database d on d.oid = pg_locks.database
      where locktype = 'advisory' and not granted and d.datname = current_database()`.execute(tx);
    if ((rows[0]?.waiting ?? 0) > 0) return;
  }
};

test('keys to mirror are all, and of a revoked one that it is; versions to mirror are the newest', async () => {
  await ensureTenant(db, { id: 'dir', partition: 4, timeZone: 'UTC' });
  const key = (id: string, hash: string, expiresAt: Date | null) =>
    upsertApiKey(db, { id, tenantId: 'dir', name: id, hash: hash.repeat(32), scopes: ['admin'], expiresAt });
  await key('key_a', 'aa', null);
  await key('key_b', 'bb', new Date(Date.now() + 3_600_000));
  await key('key_c', 'cc', new Date(Date.now() - 1000));
  await key('key_d', 'dd', null);
  await db.updateTable('api_keys').set({ revoked_at: new Date() }).where('id', '=', 'key_d').execute();
  const keys = await listApiKeys(db);
  assert.deepEqual(
    keys.map(({ id, tenantId, partition, scopes, hash, revokedAt }) => [
      [id, tenantId, partition, scopes, hash],
      revokedAt !== null,
    ]),
    [
      [['key_a', 'dir', 4, ['admin'], 'aa'.repeat(32)], false],
      [['key_b', 'dir', 4, ['admin'], 'bb'.repeat(32)], false],
      [['key_c', 'dir', 4, ['admin'], 'cc'.repeat(32)], false],
      [['key_d', 'dir', 4, ['admin'], 'dd'.repeat(32)], true],
    ],
  );
  const digests = Array.from({ length: 60 }, (_, i) => String(i + 1));
  for (const [name, count] of [
    ['b', 1],
    ['a', 3],
    ['c', 60],
  ] as const) {
    for (const digest of digests.slice(0, count))
      await publishAgentVersion(db, { tenantId: 'dir', name, digest, sealedSpec: `${name}${digest}` });
  }
  const newest = async (count: number) => {
    const found = [];
    for await (const page of readNewestVersions(db, count)) found.push(...page);
    return found.map(({ partition, name, version, sealedSpec }) => [partition, name, version, sealedSpec]);
  };
  assert.deepEqual(await newest(2), [
    [4, 'a', 2, 'a2'],
    [4, 'a', 3, 'a3'],
    [4, 'b', 1, 'b1'],
    [4, 'c', 59, 'c59'],
    [4, 'c', 60, 'c60'],
  ]);
  const names = ['a1', 'a2', 'a3', 'b1', ...digests.map((digest) => `c${digest}`)];
  assert.deepEqual(
    (await newest(100)).map(([, , , sealedSpec]) => sealedSpec),
    names,
    'more than a page',
  );
});

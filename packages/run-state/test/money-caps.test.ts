/** Which calls the caps of the scopes admit: all of them have room for it, or no money is held. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readSpend } from '../src/index.ts';
import { DAY } from './drafts.ts';
import { keyOf, money, snapshot, TENANT_DAY } from './inspect.ts';
import { ask, settled } from './steps.ts';
import { cap, freshPartition, lease, running, TENANT } from './support.ts';

const CENT = 10_000_000;

test('of 50 calls at once at $0.03 each, a cap of $1 admits exactly 33 (R1)', async () => {
  const partition = await freshPartition();
  await cap(partition, { tenantDailyNano: 100 * CENT });
  const leaseId = await lease(partition);
  const owners = await Promise.all(Array.from({ length: 50 }, () => running(partition, {}, leaseId)));
  const codes = await Promise.all(owners.map(async (owner) => (await ask(owner, 3 * CENT)).code));
  assert.equal(codes.filter((code) => code === 'OK').length, 33);
  assert.equal(codes.filter((code) => code === 'DENIED').length, 17);
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 0, held: 99 * CENT });
  assert.deepEqual((await readSpend(partition, { tenantId: TENANT, userId: null, day: DAY })).day, {
    spentNano: 0,
    heldNano: 99 * CENT,
  });
});

const SCOPES = ['run', 'user_day', 'user_month', 'tenant_day', 'tenant_month'] as const;

for (const full of SCOPES) {
  test(`no room in ${full} alone denies the hold and changes no scope (R1)`, async () => {
    const partition = await freshPartition();
    const small = (scope: string): number => (scope === full ? 10 : 1000);
    await cap(partition, {
      userDailyNano: small('user_day'),
      userMonthlyNano: small('user_month'),
      tenantDailyNano: small('tenant_day'),
      tenantMonthlyNano: small('tenant_month'),
    });
    const owner = await running(partition, { userId: 'u1', capNano: small('run') });
    const before = await snapshot(partition);
    const reply = await ask(owner, 11);
    assert.equal(reply.code, 'DENIED');
    assert.deepEqual(
      reply.scopes,
      SCOPES.map((scope) => ({ scope, capNano: small(scope), spentNano: 0, heldNano: 0 })),
    );
    assert.deepEqual(await snapshot(partition), before);
    assert.equal((await ask(owner, 10)).code, 'OK', 'exactly the cap fits');
  });
}

for (const [scope, field] of [
  ['user_day', 'user_daily'],
  ['user_month', 'user_monthly'],
  ['tenant_day', 'tenant_daily'],
  ['tenant_month', 'tenant_monthly'],
] as const) {
  test(`a missing cap of ${scope} denies and is named (R1)`, async () => {
    const partition = await freshPartition();
    const owner = await running(partition, { userId: 'u1' });
    await partition.redis.hdel(keyOf(partition, 'caps:acme'), field);
    const before = await snapshot(partition);
    const reply = await ask(owner, 1);
    assert.deepEqual([reply.code, reply.missing], ['CAP_MISSING', scope]);
    assert.deepEqual(await snapshot(partition), before);
  });
}

test('no cap means no limit, and the money is counted all the same', async () => {
  const partition = await freshPartition();
  const owner = await running(partition, { userId: 'u1' });
  assert.equal((await ask(owner, 9_000_000_000_000_000)).code, 'OK');
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 0, held: 9_000_000_000_000_000 });
});

test('a user’s own cap goes before the tenant’s cap for users', async () => {
  const partition = await freshPartition();
  await cap(partition, { userDailyNano: 100 });
  await partition.redis.hset(keyOf(partition, 'caps:acme'), 'user:small', '10', 'user:free', 'inf');
  const code = async (userId: string, amount: number): Promise<string> =>
    (await ask(await running(partition, { userId }), amount)).code;
  assert.equal(await code('small', 11), 'DENIED');
  assert.equal(await code('free', 101), 'OK');
  assert.equal(await code('other', 101), 'DENIED');
  assert.equal(await code('other', 100), 'OK');
});

test('all runs of a tree hold against the cap of its root', async () => {
  const partition = await freshPartition();
  const root = await running(partition, { capNano: 100 });
  const child = await running(partition, { rootRunId: root.run.runId, capNano: 1000 });
  assert.equal((await ask(root, 60)).code, 'OK');
  assert.equal((await ask(child, 60)).code, 'DENIED');
  assert.equal((await ask(child, 40)).code, 'OK');
  assert.deepEqual(await money(partition, `run:${root.run.runId}`), { spent: 0, held: 100 });
});

test('a cap lowered below what is spent denies; raised again it admits', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  await ask(owner, 50);
  await settled(owner, 50);
  await cap(partition, { tenantDailyNano: 20 });
  const denied = await ask(owner, 1, { id: 'h2', step: 2 });
  assert.equal(denied.code, 'DENIED');
  assert.deepEqual(denied.scopes, [{ scope: 'tenant_day', capNano: 20, spentNano: 50, heldNano: 0 }]);
  await cap(partition, { tenantDailyNano: 51 });
  assert.equal((await ask(owner, 1, { id: 'h2', step: 2 })).code, 'OK');
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type CommitReply,
  type Partition,
  readSpend,
  repair,
  setTenantCaps,
  type TenantCaps,
} from '../src/index.ts';
import { completed, DAY, parked, requested, succeeded } from './drafts.ts';
import { keyOf, money, record, snapshot } from './inspect.ts';
import { claim, expireLease, freshPartition, lease, type Owner, running, settle, TENANT } from './support.ts';

const TENANT_DAY = `spend:tenant:acme:${DAY}`;
const TENANT_MONTH = 'spend:tenant_month:acme:2026-01';
const userDay = (user: string): string => `spend:user:acme:${DAY}:${user}`;
const userMonth = (user: string): string => `spend:user_month:acme:2026-01:${user}`;
const CENT = 10_000_000;

const cap = (partition: Partition, caps: Partial<TenantCaps>) =>
  setTenantCaps(partition, TENANT, {
    runNano: null,
    userDailyNano: null,
    tenantDailyNano: null,
    timeZone: 'UTC',
    ...caps,
  });

const ask = (owner: Owner, amount: number, { id = 'h1', step = 1, day = DAY } = {}): Promise<CommitReply> =>
  owner.write({ announce: [requested(step)], hold: { id, amount, day } });

const settled = (owner: Owner, observed: number, { id = 'h1', step = 1, expired = false } = {}) =>
  owner.write({ results: [completed(step)], settlements: [settle(id, observed, expired)] });

/** Parks a run until the tenant's day has room for `needNano`. */
const parkForRoom = (owner: Owner, needNano: number): Promise<CommitReply> =>
  owner.write({
    announce: [parked('capacity')],
    after: {
      type: 'park',
      reason: 'capacity',
      wakeSeq: owner.run.wakeSeq,
      dueMs: null,
      capacity: { scope: 'tenant_day', needNano, day: DAY },
    },
  });

const waiters = (partition: Partition): Promise<string[]> =>
  partition.redis.zrange(keyOf(partition, `${TENANT_DAY}:waiters`), '0', '-1');

const statusOf = async (partition: Partition, { run }: Owner) =>
  (await record(partition, run.runId))['status'];

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

test('a month counts what its days cost: the day of the hold says which month', async () => {
  const partition = await freshPartition();
  await cap(partition, { tenantMonthlyNano: 100 });
  const owner = await running(partition, { userId: 'u1' });
  await ask(owner, 60, { day: '2025-12-31' });
  await ask(owner, 50, { id: 'h2', step: 2, day: '2026-01-01' });
  assert.equal((await ask(owner, 51, { id: 'h3', step: 3, day: '2026-01-31' })).code, 'DENIED');
  assert.equal((await ask(owner, 50, { id: 'h3', step: 3, day: '2026-01-31' })).code, 'OK');
  await settled(owner, 40);
  await settled(owner, 30, { id: 'h3', step: 3 });
  for (const [month, spent, held] of [
    ['2025-12', 40, 0],
    ['2026-01', 30, 50],
    ['2026-02', 0, 0],
  ] as const) {
    assert.deepEqual(await money(partition, `spend:tenant_month:acme:${month}`), { spent, held }, month);
    assert.deepEqual(await money(partition, `spend:user_month:acme:${month}:u1`), { spent, held }, month);
  }
});

test('no cap means no limit, and the money is counted all the same', async () => {
  const partition = await freshPartition();
  const owner = await running(partition, { userId: 'u1' });
  assert.equal((await ask(owner, 9_000_000_000_000_000)).code, 'OK');
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 0, held: 9_000_000_000_000_000 });
});

test('a settlement below the hold frees the rest in every scope, at once (R2)', async () => {
  const partition = await freshPartition();
  await cap(partition, { userDailyNano: 100, tenantDailyNano: 100 });
  const owner = await running(partition, { userId: 'u1', capNano: 100 });
  await ask(owner, 100);
  await settled(owner, 30);
  for (const scope of [TENANT_DAY, TENANT_MONTH, userDay('u1'), userMonth('u1'), `run:${owner.run.runId}`]) {
    assert.deepEqual(await money(partition, scope), { spent: 30, held: 0 }, scope);
  }
  assert.equal((await ask(owner, 70, { id: 'h2', step: 2 })).code, 'OK');
});

test('a hold is settled once; a later settlement changes nothing', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  await ask(owner, 100);
  await settled(owner, 30);
  await settled(owner, 99, { step: 2 });
  await settled(owner, 100, { step: 3, expired: true });
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 30, held: 0 });
});

test('a hold charged because its worker was lost is corrected when the truth comes', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  await ask(owner, 100);
  await settled(owner, 100, { expired: true });
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 100, held: 0 });
  await settled(owner, 100, { expired: true, step: 2 });
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 100, held: 0 }, 'expired once');
  await settled(owner, 20, { step: 3 });
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 20, held: 0 });
  await settled(owner, 50, { step: 4 });
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 20, held: 0 }, 'corrected once');
});

const LOST = 1000;

test(`${LOST} calls in flight of workers that were lost: repair charges them all at once, and the truth corrects it`, async () => {
  const partition = await freshPartition();
  const leases = await Promise.all(Array.from({ length: 4 }, () => lease(partition, 250)));
  const owners = await Promise.all(
    Array.from({ length: LOST }, (_, n) =>
      running(partition, { userId: `u${n % 3}`, capNano: 5000 }, leases[n % 4]),
    ),
  );
  await Promise.all(owners.map((owner, n) => ask(owner, 1 + n)));
  const sum = (of: (n: number) => number): number => owners.reduce((total, _, n) => total + of(n), 0);
  const held = sum((n) => 1 + n);
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 0, held });
  for (const leaseId of leases) await expireLease(partition, leaseId);
  const fenced = await owners[0]?.write({ results: [completed(1)], settlements: [settle('h1', 0)] });
  assert.equal(fenced?.code, 'FENCED', 'the lost worker itself settles nothing any more');
  let lost = 0;
  while (lost < LOST) {
    const repaired = await repair(partition, { limit: 200, graceMs: 60_000 });
    assert.ok(repaired.lost > 0);
    lost += repaired.lost;
  }
  const ofUser = (user: number): number => sum((n) => (n % 3 === user ? 1 + n : 0));
  const books = async () => ({
    tenant: [await money(partition, TENANT_DAY), await money(partition, TENANT_MONTH)],
    user: [await money(partition, userDay('u1')), await money(partition, userMonth('u1'))],
  });
  const all = { spent: held, held: 0 };
  const ofU1 = { spent: ofUser(1), held: 0 };
  assert.deepEqual(await books(), { tenant: [all, all], user: [ofU1, ofU1] });
  for (const [n, { run }] of owners.entries()) {
    assert.deepEqual(await money(partition, `run:${run.runId}`), { spent: 1 + n, held: 0 });
  }

  const next = await Promise.all(owners.slice(0, 10).map(({ run }) => claim(partition, run.runId, {})));
  await Promise.all(next.map((owner, n) => settled(owner, 1 + n, { expired: true })));
  assert.deepEqual(await books(), { tenant: [all, all], user: [ofU1, ofU1] }, 'charged already');
  await Promise.all(next.map((owner) => settled(owner, 0, { step: 2 })));
  const corrected = { spent: held - 55, held: 0 };
  assert.deepEqual((await books()).tenant, [corrected, corrected]);
});

test('a settlement of a hold that is not known books nothing', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  await settled(owner, 50, { id: 'nobody' });
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 0, held: 0 });
});

test('a settlement books on the day of its hold, not on the day it comes', async () => {
  const partition = await freshPartition();
  const owner = await running(partition);
  await ask(owner, 100, { day: '2025-12-31' });
  await ask(owner, 10, { id: 'h2', step: 2 });
  await settled(owner, 60);
  assert.deepEqual(await money(partition, 'spend:tenant:acme:2025-12-31'), { spent: 60, held: 0 });
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 0, held: 10 });
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

/** One run holds 100 of 100; `needs` are runs that wait for room, oldest first. */
const crowd = async (needs: readonly number[]) => {
  const partition = await freshPartition();
  await cap(partition, { tenantDailyNano: 100 });
  const leaseId = await lease(partition);
  const holder = await running(partition, {}, leaseId);
  await ask(holder, 100);
  const waiting: Owner[] = [];
  for (const [i, need] of needs.entries()) {
    const owner = await running(partition, {}, leaseId);
    assert.equal((await ask(owner, need)).code, 'DENIED');
    assert.equal((await parkForRoom(owner, need)).code, 'OK');
    // The place in the line is a time in milliseconds; make it distinct.
    await partition.redis.zadd(keyOf(partition, `${TENANT_DAY}:waiters`), 'XX', i + 1, owner.run.runId);
    await partition.redis.hset(keyOf(partition, `run:${owner.run.runId}`), 'waits_since', i + 1);
    waiting.push(owner);
  }
  return { partition, holder, waiting, leaseId };
};

const woken = async (partition: Partition, waiting: readonly Owner[]): Promise<number[]> => {
  const statuses = await Promise.all(waiting.map((owner) => statusOf(partition, owner)));
  return statuses.flatMap((status, i) => (status === 'queued' ? [i] : []));
};

test('room wakes waiters oldest first, and only as many as fit', async () => {
  const { partition, holder, waiting } = await crowd([30, 30, 30, 5]);
  await settled(holder, 30);
  assert.deepEqual(
    await woken(partition, waiting),
    [0, 1],
    'the third does not fit, and nobody overtakes it',
  );
  const first = waiting[0];
  assert.ok(first);
  const next = await claim(partition, first.run.runId, { wakeSeq: 2 });
  assert.deepEqual(next.run.notes, [{ type: 'woken', reason: 'capacity' }]);
  assert.equal((await ask(next, 30)).code, 'OK');
});

/** Room kept for runs that were woken and did not ask yet. */
const promised = async (partition: Partition): Promise<number> =>
  Number(await partition.redis.hget(keyOf(partition, TENANT_DAY), 'promised'));

test('settlements that come before the first woken run asked wake no second run for the same room', async () => {
  const partition = await freshPartition();
  await cap(partition, { tenantDailyNano: 100 });
  const leaseId = await lease(partition);
  const holders = await Promise.all([0, 1, 2].map(() => running(partition, {}, leaseId)));
  for (const holder of holders) await ask(holder, 30);
  const waiting: Owner[] = [];
  for (let n = 0; n < 6; n += 1) {
    const owner = await running(partition, {}, leaseId);
    assert.equal((await ask(owner, 30)).code, 'DENIED');
    await parkForRoom(owner, 30);
    waiting.push(owner);
  }
  for (const [n, holder] of holders.entries()) {
    await settled(holder, 0);
    assert.equal((await woken(partition, waiting)).length, n + 1);
  }
  await repair(partition, { limit: 10, graceMs: 60_000 });
  assert.deepEqual(await woken(partition, waiting), [0, 1, 2]);
  assert.equal(await promised(partition), 90);
  for (const { run } of waiting.slice(0, 3)) {
    assert.equal((await ask(await claim(partition, run.runId, { wakeSeq: 2 }), 30)).code, 'OK');
  }
  assert.equal(await promised(partition), 0);
  assert.equal(await partition.redis.exists(keyOf(partition, 'promised')), 0);
});

test('room kept for a run that does not ask in time goes to the next', async () => {
  const { partition, holder, waiting } = await crowd([40, 40, 40]);
  await settled(holder, 50);
  assert.deepEqual(await woken(partition, waiting), [0]);
  await repair(partition, { limit: 10, graceMs: 60_000 });
  assert.deepEqual(await woken(partition, waiting), [0]);
  await partition.redis.zadd(keyOf(partition, 'promised'), 'XX', 1, waiting[0]?.run.runId ?? '');
  await repair(partition, { limit: 10, graceMs: 60_000 });
  assert.deepEqual(await woken(partition, waiting), [0, 1]);
  assert.equal(await promised(partition), 40);
});

test('a woken run that comes too late, because another took the room, waits on in its old place', async () => {
  const { partition, holder, waiting, leaseId } = await crowd([40, 40]);
  await settled(holder, 50);
  assert.deepEqual(await woken(partition, waiting), [0]);
  const newcomer = await running(partition, {}, leaseId);
  assert.equal((await ask(newcomer, 50)).code, 'OK');
  const late = await claim(partition, waiting[0]?.run.runId ?? '', { wakeSeq: 2, leaseId });
  assert.equal((await ask(late, 40)).code, 'DENIED');
  await parkForRoom(late, 40);
  const place = await partition.redis.zscore(keyOf(partition, `${TENANT_DAY}:waiters`), late.run.runId);
  assert.equal(place, '1');
  await settled(newcomer, 0);
  const again = await claim(partition, late.run.runId, { wakeSeq: 3 });
  assert.equal((await ask(again, 40)).code, 'OK');
  assert.equal(
    (await record(partition, late.run.runId))['waits_since'],
    undefined,
    'the next wait is another',
  );
});

test('when a lost call is charged, a waiter that can no longer fit is woken to hear so', async () => {
  const { partition, waiting, leaseId } = await crowd([50]);
  await expireLease(partition, leaseId);
  await repair(partition, { limit: 10, graceMs: 60_000 });
  assert.deepEqual(await money(partition, TENANT_DAY), { spent: 100, held: 0 });
  assert.deepEqual(await woken(partition, waiting), [0]);
});

test('room for all wakes at most eight at once', async () => {
  const { partition, holder, waiting } = await crowd(Array.from({ length: 12 }, () => 1));
  await settled(holder, 10);
  assert.deepEqual(await woken(partition, waiting), [0, 1, 2, 3, 4, 5, 6, 7]);
  assert.equal((await waiters(partition)).length, 4);
});

test('a run that parks when room came meanwhile is woken at once', async () => {
  const partition = await freshPartition();
  await cap(partition, { tenantDailyNano: 100 });
  const holder = await running(partition);
  const owner = await running(partition);
  await ask(holder, 100);
  assert.equal((await ask(owner, 50)).code, 'DENIED');
  await settled(holder, 10);
  assert.equal((await parkForRoom(owner, 50)).code, 'OK');
  assert.equal(await statusOf(partition, owner), 'queued');
});

test('a waiter for which no settlement will make room is woken to hear so, and blocks nobody', async () => {
  const { partition, holder, waiting } = await crowd([50, 20]);
  await settled(holder, 80);
  assert.deepEqual(await woken(partition, waiting), [0, 1]);
});

test('while others hold, a waiter that does not fit yet waits on', async () => {
  const { partition, holder, waiting } = await crowd([50]);
  await settled(holder, 0);
  const [waiter] = waiting;
  assert.ok(waiter);
  const other = await running(partition);
  assert.equal((await ask(other, 60, { id: 'o1' })).code, 'OK');
  const again = await claim(partition, waiter.run.runId, { wakeSeq: 2 });
  assert.equal((await ask(again, 50)).code, 'DENIED');
  assert.equal((await parkForRoom(again, 50)).code, 'OK');
  await repair(partition, { limit: 10, graceMs: 60_000 });
  assert.equal(await statusOf(partition, waiter), 'waiting');
});

test('when those that were woken take no hold, repair wakes the next (R10)', async () => {
  const { partition, holder, waiting } = await crowd([60, 60]);
  await settled(holder, 40);
  assert.deepEqual(await woken(partition, waiting), [0]);
  const first = await claim(partition, waiting[0]?.run.runId ?? '', { wakeSeq: 2 });
  await first.write({ announce: [succeeded()], after: { type: 'finish', status: 'succeeded' } });
  assert.deepEqual(await woken(partition, waiting), []);
  await repair(partition, { limit: 10, graceMs: 60_000 });
  assert.deepEqual(await woken(partition, waiting), [1]);
});

for (const [what, tenantDailyNano] of [
  ['raised', 1000],
  ['lifted', null],
] as const) {
  test(`when the cap is ${what}, repair wakes the waiters (R10)`, async () => {
    const { partition, waiting } = await crowd([50]);
    await repair(partition, { limit: 10, graceMs: 60_000 });
    assert.deepEqual(await woken(partition, waiting), []);
    await cap(partition, { tenantDailyNano });
    const { activations } = await repair(partition, { limit: 10, graceMs: 60_000 });
    assert.deepEqual(await woken(partition, waiting), [0]);
    assert.deepEqual(await waiters(partition), []);
    assert.deepEqual(activations, [], 'two runs are already with workers');
    await repair(partition, { limit: 10, graceMs: 60_000 });
    assert.equal(await partition.redis.exists(keyOf(partition, 'scopes')), 0, 'the scope is forgotten');
  });
}

test('a waiter that is claimed to write its end leaves the line', async () => {
  const { partition, waiting } = await crowd([50]);
  const owner = await claim(partition, waiting[0]?.run.runId ?? '', { leaseMs: 60_000, leaseId: 'own' });
  await owner.write({ announce: [succeeded()], after: { type: 'finish', status: 'succeeded' } });
  assert.deepEqual(await waiters(partition), []);
});

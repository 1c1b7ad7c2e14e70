/** Runs that wait for room under a cap: who is woken, when, and in which order. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type CommitReply, type Partition, repair } from '../src/index.ts';
import { DAY, succeeded } from './drafts.ts';
import { keyOf, money, record, TENANT_DAY } from './inspect.ts';
import { ask, park, settled } from './steps.ts';
import { cap, claim, expireLease, freshPartition, lease, type Owner, running, TENANT } from './support.ts';

/** Parks a run until the tenant's day has room for `needNano`. */
const parkForRoom = (owner: Owner, needNano: number): Promise<CommitReply> =>
  park(owner, { reason: 'capacity', need: needNano });

const waiters = (partition: Partition): Promise<string[]> =>
  partition.redis.zrange(keyOf(partition, `waiters:${TENANT_DAY}`), '0', '-1');

const statusOf = async (partition: Partition, { run }: Owner) =>
  (await record(partition, run.runId))['status'];

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
    // The position in the line is a time in milliseconds; make it distinct.
    await partition.redis.zadd(keyOf(partition, `waiters:${TENANT_DAY}`), 'XX', i + 1, owner.run.runId);
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

test('a woken run that comes too late, because another took the room, waits on in its old position', async () => {
  const { partition, holder, waiting, leaseId } = await crowd([40, 40]);
  await settled(holder, 50);
  assert.deepEqual(await woken(partition, waiting), [0]);
  const newcomer = await running(partition, {}, leaseId);
  assert.equal((await ask(newcomer, 50)).code, 'OK');
  const late = await claim(partition, waiting[0]?.run.runId ?? '', { wakeSeq: 2, leaseId });
  assert.equal((await ask(late, 40)).code, 'DENIED');
  await parkForRoom(late, 40);
  const score = await partition.redis.zscore(keyOf(partition, `waiters:${TENANT_DAY}`), late.run.runId);
  assert.equal(score, '1');
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

test('a user whose id names the line of another one meets neither that line nor its spend (R1)', async () => {
  const partition = await freshPartition();
  await cap(partition, { userDailyNano: 100 });
  const leaseId = await lease(partition);
  const holder = await running(partition, { userId: 'bob' }, leaseId);
  await ask(holder, 100);
  const parked = await running(partition, { userId: 'bob' }, leaseId);
  assert.equal((await ask(parked, 50)).code, 'DENIED');
  assert.equal((await park(parked, { reason: 'capacity', scope: 'user_day', need: 50 })).code, 'OK');
  for (const userId of ['bob:waiters', 'bob:promised']) {
    const other = await running(partition, { userId }, leaseId);
    assert.equal((await ask(other, 60)).code, 'OK');
    assert.deepEqual(await money(partition, `spend:user:${TENANT}:${DAY}:${userId}`), { spent: 0, held: 60 });
  }
  await settled(holder, 10);
  assert.equal(await statusOf(partition, parked), 'queued');
});

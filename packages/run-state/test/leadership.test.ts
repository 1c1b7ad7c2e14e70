import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { type Clock, createLogger, ManualClock, systemClock } from '@signalbox/runtime';
import { leaderLeaseMs, Leadership, type Partition, type Role } from '../src/index.ts';
import { freshPartition } from './support.ts';

const LEASE_MS = 10_000;
const logger = createLogger({ service: 'test', level: 'silent' });
const keyOf = ({ root }: Partition): string => `${root}:leader:scheduler`;

const leadershipOf = (
  partition: Partition,
  { clock = systemClock, role = 'scheduler' }: { clock?: Clock; role?: Role } = {},
): { lead: Leadership; token: string } => {
  const token = randomUUID();
  return { token, lead: new Leadership({ partition, role, clock, logger, token, leaseMs: LEASE_MS }) };
};

test('of many only one leads, and the next one follows when it lets go', async () => {
  const partition = await freshPartition();
  const all = Array.from({ length: 5 }, () => leadershipOf(partition).lead);
  const held = await Promise.all(all.map((one) => one.hold()));
  assert.equal(held.filter(Boolean).length, 1);
  const leader = all[held.indexOf(true)];
  const other = all[held.indexOf(false)];
  assert.ok(leader !== undefined && other !== undefined);
  assert.equal(leader.isLeader(), true);
  assert.equal(await other.hold(), false);
  await leader.release();
  assert.equal(leader.isLeader(), false);
  assert.equal(await other.hold(), true);
});

test('each role has a leader of its own', async () => {
  const partition = await freshPartition();
  const roles = ['scheduler', 'audit-writer'] as const;
  const held = await Promise.all(roles.map((role) => leadershipOf(partition, { role }).lead.hold()));
  assert.deepEqual(held, [true, true]);
});

test('a silent leader is replaced, and neither keeps nor releases what it lost', async () => {
  const partition = await freshPartition();
  const clock = new ManualClock();
  const { lead: old } = leadershipOf(partition, { clock });
  const { lead: next, token } = leadershipOf(partition);
  assert.equal(await old.hold(), true);
  await partition.redis.pexpire(keyOf(partition), 0);
  assert.equal(await next.hold(), true);
  await clock.advance(LEASE_MS + 1);
  assert.equal(old.isLeader(), false, 'its own deadline tells it before the store does');
  assert.equal(await old.hold(), false);
  await old.release();
  assert.equal(await partition.redis.get(keyOf(partition)), token);
});

test('a leader renews in time and not at each tick', async () => {
  const partition = await freshPartition();
  const clock = new ManualClock();
  const { lead: leader } = leadershipOf(partition, { clock });
  await leader.hold();
  await partition.redis.pexpire(keyOf(partition), 2_000);
  await clock.advance(1_000);
  assert.equal(await leader.hold(), true);
  assert.ok((await partition.redis.pttl(keyOf(partition))) <= 2_000, 'renewed without need');
  await clock.advance(3_000);
  assert.equal(await leader.hold(), true);
  assert.ok((await partition.redis.pttl(keyOf(partition))) > 9_000);
});

test('the lead is renewed while work takes longer than the lease, and only then', async () => {
  const partition = await freshPartition();
  const clock = new ManualClock();
  const { lead: leader } = leadershipOf(partition, { clock });
  await leader.hold();
  const work = Promise.withResolvers<string>();
  const working = leader.during(() => work.promise);
  for (let elapsed = 0; elapsed < 3 * LEASE_MS; elapsed += leader.renewMs) {
    await clock.whenSleeping();
    await partition.redis.pexpire(keyOf(partition), 2_000);
    await clock.advance(leader.renewMs);
  }
  await clock.whenSleeping();
  assert.equal(leader.isLeader(), true);
  assert.ok((await partition.redis.pttl(keyOf(partition))) > 9_000);
  work.resolve('done');
  assert.equal(await working, 'done');
  assert.equal(clock.sleeping, 0);
});

test('the lead lasts a third of a worker lease, within bounds', () => {
  assert.deepEqual([1, 6, 30, 3600].map(leaderLeaseMs), [1_000, 2_000, 10_000, 10_000]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@signalbox/runtime';
import { freshPartition } from '../../../packages/run-state/test/support.ts';
import { expireLeadership, leadershipOf } from '../test/support.ts';
import { leaderLeaseMs } from './leadership.ts';

test('of many only one leads, and the next one follows when it lets go', async () => {
  const partition = await freshPartition();
  const all = Array.from({ length: 5 }, () => leadershipOf(partition));
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

test('a silent leader is replaced, and neither keeps nor releases what it lost', async () => {
  const partition = await freshPartition();
  const clock = new ManualClock();
  const old = leadershipOf(partition, clock);
  const next = leadershipOf(partition);
  assert.equal(await old.hold(), true);
  await expireLeadership(partition);
  assert.equal(await next.hold(), true);
  await clock.advance(10_001);
  assert.equal(old.isLeader(), false, 'its own deadline tells it before the store does');
  assert.equal(await old.hold(), false);
  await old.release();
  assert.equal(await partition.redis.get(`${partition.root}:leader`), next.token);
});

test('a leader renews in time and not at each tick', async () => {
  const partition = await freshPartition();
  const clock = new ManualClock();
  const leader = leadershipOf(partition, clock);
  await leader.hold();
  await partition.redis.pexpire(`${partition.root}:leader`, 2_000);
  await clock.advance(1_000);
  assert.equal(await leader.hold(), true);
  assert.ok((await partition.redis.pttl(`${partition.root}:leader`)) <= 2_000, 'renewed without need');
  await clock.advance(3_000);
  assert.equal(await leader.hold(), true);
  assert.ok((await partition.redis.pttl(`${partition.root}:leader`)) > 9_000);
});

test('the lead lasts a third of a worker lease, within bounds', () => {
  assert.deepEqual([1, 6, 30, 3600].map(leaderLeaseMs), [1_000, 2_000, 10_000, 10_000]);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { until } from '@signalbox/local';
import { readTrust, withdrawTrust } from '@signalbox/run-state';
import { freshPartition, submit, trust } from '../../../../packages/run-state/test/support.ts';
import { expireLeadership, type RunningLoop, startLoop } from '../../test/support.ts';

const timersFired = ({ log }: RunningLoop): number =>
  log.filter(({ msg }) => msg === 'repaired').reduce((sum, { timers }) => sum + Number(timers), 0);

test('of two schedulers one works, and the other takes over when the first is gone', async () => {
  const partition = await freshPartition();
  const both = [await startLoop(partition), await startLoop(partition)];
  await submit(partition, { dueMs: 1 });
  await until('the timer to fire', () => both.some((one) => timersFired(one) > 0));
  const [leader] = both.filter(({ leadership }) => leadership.isLeader());
  const [follower] = both.filter(({ leadership }) => !leadership.isLeader());
  assert.ok(leader !== undefined && follower !== undefined);
  assert.deepEqual([timersFired(leader), timersFired(follower)], [1, 0]);

  await leader.stop();
  await submit(partition, { dueMs: 1 });
  await expireLeadership(partition);
  await until('the follower to work', () => timersFired(follower) > 0);
  assert.equal(follower.leadership.isLeader(), true);
});

test('more due runs than one tick takes are all woken', async () => {
  const partition = await freshPartition();
  await Promise.all(Array.from({ length: 450 }, () => submit(partition, { dueMs: 1 })));
  await startLoop(partition);
  await until(
    'all timers to fire',
    async () => (await partition.redis.zcard(`${partition.root}:timers`)) === 0,
  );
  assert.equal(await partition.redis.zcard(`${partition.root}:queued:1`), 450);
});

test('a tick that fails is followed by another', async () => {
  const partition = await freshPartition();
  await withdrawTrust(partition);
  let isBroken = true;
  const { log, added } = await startLoop(partition, async () => {
    if (isBroken) throw new Error('broken');
    await trust(partition);
  });
  await until('two failures', () => log.filter(({ msg }) => msg === 'tick failed').length >= 2);
  isBroken = false;
  await until('trust', async () => (await readTrust(partition)) !== null);
  await submit(partition, { dueMs: 1 });
  await until('the timer to fire', () => added.length > 0);
  assert.ok(log.some(({ msg }) => msg === 'working again'));
});

test('a follower and a leader beat at every round; during a verification nothing is expected of the loop', async () => {
  const partition = await freshPartition();
  const leader = await startLoop(partition);
  await until('it to lead', () => leader.leadership.isLeader());
  const follower = await startLoop(partition);
  await until('the follower to beat', () => follower.heart.length > 0);
  assert.deepEqual([leader.heart, follower.heart], [['beat'], ['beat']]);
  await Promise.all([leader.stop(), follower.stop()]);

  await withdrawTrust(partition);
  const verified = Promise.withResolvers<void>();
  await expireLeadership(partition);
  const verifier = await startLoop(partition, async () => {
    await verified.promise;
    await trust(partition);
  });
  await until('it to verify', () => verifier.heart.at(-1) === 'rest');
  verified.resolve();
  await until('it to beat again', () => verifier.heart.length === 3);
  assert.deepEqual(verifier.heart, ['beat', 'rest', 'beat']);
});

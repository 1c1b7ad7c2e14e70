import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from './manual-clock.ts';
import { SharedClock } from './shared-clock.ts';

const HOUR = 3_600_000;

test('it has the time of the server, however far its own is from it, and goes on by the monotonic clock', async () => {
  const own = new ManualClock(1_000_000);
  const clock = new SharedClock(own);
  assert.deepEqual([clock.now(), clock.ownAhead], [1_000_000, 0]);
  const sentAt = own.monotonic();
  await own.advance(20);
  clock.told(1_000_000 + HOUR, sentAt);
  assert.equal(clock.now(), 1_000_000 + HOUR + 10);
  await own.advance(5000);
  assert.deepEqual([clock.now(), clock.ownAhead], [1_000_000 + HOUR + 5010, 10 - HOUR]);
});

test('a reply that was long on the way changes nothing that it does not show to be wrong', async () => {
  const own = new ManualClock(0);
  const clock = new SharedClock(own);
  clock.told(HOUR, own.monotonic());
  const sentAt = own.monotonic();
  await own.advance(4000);
  clock.told(HOUR + 1000, sentAt);
  assert.equal(clock.now(), HOUR + 4000);
  // The server's own clock was set: it is followed.
  clock.told(2 * HOUR, own.monotonic());
  assert.equal(clock.now(), 2 * HOUR);
  clock.told(HOUR, own.monotonic());
  assert.equal(clock.now(), HOUR);
});

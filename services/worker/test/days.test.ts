/** A hold counts for the tenant's day on which it is taken, at the very edge of it too. */
import assert from 'node:assert/strict';
import { after, test } from 'node:test';
import { newId } from '@signalbox/contracts';
import { testRedisUrl } from '@signalbox/local';
import { connect, disconnect, openPartition, setTenantCaps } from '@signalbox/run-state';
import { type Clock, ManualClock } from '@signalbox/runtime';
import { createDays } from '../src/run/days.ts';
import { RunLostError } from '../src/run/session.ts';
import type { Asking } from '../src/run/state-away.ts';
import { NO_CAPS, trust } from './harness.ts';

const redis = connect(await testRedisUrl(), 'state', { onError: () => undefined });
const partition = openPartition(redis, { namespace: newId('run') });
await trust(partition);
after(() => disconnect(redis));

/** On behalf of a run whose lease is live. */
const asking = (clock: Clock, isLive = true): Asking => ({
  clock,
  session: {
    identity: { lost: new AbortController().signal },
    checkLease: () => {
      if (!isLive) throw new RunLostError('the lease is over');
    },
  },
});

const MINUTE = 60_000;
const PAST = '2026-01-01T00:00:00.000Z';
const MIDNIGHT = Date.parse('2026-03-01T00:00:00+01:00');

test("the day is the tenant's own, and ends to the millisecond", async () => {
  await setTenantCaps(partition, 'acme', { ...NO_CAPS, timeZone: 'Europe/Berlin' });
  const clock = new ManualClock(MIDNIGHT - MINUTE);
  const days = createDays(partition, clock)('acme');
  const before = await days.today(asking(clock), PAST);
  assert.deepEqual(before, { day: '2026-02-28', dayEndsMs: MIDNIGHT, monthEndsMs: MIDNIGHT });

  await clock.advance(MINUTE - 1);
  assert.equal((await days.today(asking(clock), PAST)).day, '2026-02-28');
  await clock.advance(1);
  assert.equal((await days.today(asking(clock), PAST)).day, '2026-03-01');
});

test('a run that the store woke at midnight is in the new day, also where this clock is behind', async () => {
  await setTenantCaps(partition, 'woken', { ...NO_CAPS, timeZone: 'Europe/Berlin' });
  const clock = new ManualClock(MIDNIGHT - MINUTE);
  const days = createDays(partition, clock)('woken');
  assert.equal((await days.today(asking(clock), new Date(MIDNIGHT).toISOString())).day, '2026-03-01');
  assert.equal((await days.today(asking(clock), PAST)).day, '2026-02-28');
});

test('a change of zone is seen after a minute', async () => {
  await setTenantCaps(partition, 'moved', { ...NO_CAPS, timeZone: 'UTC' });
  const clock = new ManualClock(MIDNIGHT);
  const days = createDays(partition, clock)('moved');
  assert.equal((await days.today(asking(clock), PAST)).day, '2026-02-28');
  await setTenantCaps(partition, 'moved', { ...NO_CAPS, timeZone: 'Europe/Berlin' });
  await clock.advance(MINUTE);
  assert.equal((await days.today(asking(clock), PAST)).day, '2026-03-01');
});

test('nobody waits for a zone longer than the lease lasts (R4)', async () => {
  const away = connect('redis://127.0.0.1:1', 'state', { onError: () => undefined });
  after(() => disconnect(away));
  const clock = new ManualClock(MIDNIGHT);
  const days = createDays(openPartition(away), clock)('acme');
  await assert.rejects(days.today(asking(clock, false), PAST), RunLostError);
});

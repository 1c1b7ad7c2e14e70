import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemClock } from './clock.ts';
import { ManualClock } from './manual-clock.ts';
import { TimeoutError, withTimeout } from './timeout.ts';

test('the system clock sleeps at least as long as asked, measured on the monotonic clock', async () => {
  const before = systemClock.monotonic();
  await systemClock.sleep(20);
  assert.ok(systemClock.monotonic() - before >= 19);
});

for (const [name, clock] of [
  ['system', systemClock],
  ['manual', new ManualClock()],
] as const) {
  test(`an aborted sleep of the ${name} clock rejects with the reason, before or during the sleep`, async () => {
    const controller = new AbortController();
    const sleeping = clock.sleep(60_000, controller.signal);
    controller.abort(new Error('enough'));
    await assert.rejects(sleeping, /enough/);
    await assert.rejects(clock.sleep(60_000, controller.signal), /enough/);
  });
}

test('the manual clock wakes sleepers in order of due time, at their time, also those that sleep again', async () => {
  const clock = new ManualClock(1_000);
  const woken: Array<[string, number]> = [];
  const sleeper = async (name: string, ...naps: number[]) => {
    for (const nap of naps) {
      await clock.sleep(nap);
      woken.push([name, clock.now()]);
    }
  };
  const all = [sleeper('a', 300), sleeper('b', 100, 100, 200), sleeper('c', 5_000)];
  await clock.advance(400);
  assert.deepEqual(woken, [
    ['b', 1_100],
    ['b', 1_200],
    ['a', 1_300],
    ['b', 1_400],
  ]);
  assert.equal(clock.monotonic(), 400);
  assert.equal(clock.sleeping, 1);
  await clock.advance(4_600);
  await Promise.all(all);
  assert.equal(clock.sleeping, 0);
});

test('whenSleeping resolves once that many sleeps are open', async () => {
  const clock = new ManualClock();
  let open = false;
  const waiting = clock.whenSleeping(2).then(() => {
    open = true;
  });
  const first = clock.sleep(1);
  await new Promise(setImmediate);
  assert.equal(open, false);
  const second = clock.sleep(1);
  await waiting;
  await clock.advance(1);
  await Promise.all([first, second]);
});

test('withTimeout gives up at its time, settles like the work otherwise, and leaves no sleeper behind', async () => {
  const clock = new ManualClock();
  assert.equal(await withTimeout(Promise.resolve(7), 100, clock), 7);
  await assert.rejects(withTimeout(Promise.reject(new Error('broken')), 100, clock), /broken/);
  const hanging = withTimeout(new Promise(() => undefined), 100, clock);
  const refused = assert.rejects(hanging, TimeoutError);
  await clock.advance(100);
  await refused;
  assert.equal(clock.sleeping, 0);
});

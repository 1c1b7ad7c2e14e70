/** Whether a worker still fetches: work that waits beside free slots tells, an idle queue does not. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ManualClock } from '@signalbox/runtime';
import { Intake } from '../src/intake/intake.ts';
import { gate } from './tools.ts';

const LIMIT_MS = 60_000;
const ACTIVATION = { runId: 'run_1', wakeSeq: 1 };

const watched = async (slots = 2) => {
  const clock = new ManualClock();
  const held = gate();
  let waiting: () => Promise<number> = () => Promise.resolve(0);
  const intake = new Intake({
    slots,
    work: async () => {
      await held.opened;
      return 'done';
    },
    waiting: () => waiting(),
    clock,
    limitMs: LIMIT_MS,
  });
  const stopping = new AbortController();
  void intake.watch(stopping.signal);
  await clock.whenSleeping();
  return {
    clock,
    intake,
    held,
    stopping,
    queueHas: (jobs: number) => {
      waiting = () => Promise.resolve(jobs);
    },
    queueIsAway: () => {
      waiting = () => Promise.reject(new Error('away'));
    },
  };
};

test('an idle queue is no reason to doubt, for however long', async () => {
  const { clock, intake } = await watched();
  await clock.advance(LIMIT_MS * 10);
  assert.deepEqual(intake.check(), { ok: true });
});

test('work waits, slots are free, nothing comes: not alive, and it says why', async () => {
  const { clock, intake, queueHas } = await watched();
  queueHas(3);
  await clock.advance(LIMIT_MS);
  assert.deepEqual(intake.check(), { ok: true });
  await clock.advance(5_000);
  const { ok, detail } = intake.check();
  assert.equal(ok, false);
  assert.match(detail ?? '', /^work waits and slots are free, but nothing was fetched for 6\d s$/);
});

test('what is fetched proves that it fetches', async () => {
  const { clock, intake, held, queueHas } = await watched();
  queueHas(3);
  await clock.advance(LIMIT_MS - 2_000);
  const working = intake.take(ACTIVATION);
  await clock.advance(LIMIT_MS - 2_000);
  assert.deepEqual(intake.check(), { ok: true });
  held.open();
  assert.equal(await working, 'done');
});

test('with all slots taken the others may wait', async () => {
  const { clock, intake, held, queueHas } = await watched(1);
  queueHas(3);
  const working = intake.take(ACTIVATION);
  await clock.advance(LIMIT_MS * 3);
  assert.deepEqual(intake.check(), { ok: true });
  held.open();
  await working;
  await clock.advance(LIMIT_MS + 5_000);
  assert.equal(intake.check().ok, false);
});

test('a queue that is emptied, or cannot be read, begins the time anew', async () => {
  const { clock, intake, queueHas, queueIsAway } = await watched();
  for (const interruption of [() => queueHas(0), queueIsAway]) {
    queueHas(3);
    await clock.advance(LIMIT_MS - 5_000);
    interruption();
    await clock.advance(10_000);
    assert.deepEqual(intake.check(), { ok: true });
  }
});

test('a process that stops fetches nothing, and is alive to the end', async () => {
  const { clock, intake, queueHas, stopping } = await watched();
  queueHas(3);
  await clock.advance(LIMIT_MS - 5_000);
  stopping.abort();
  await clock.advance(LIMIT_MS);
  assert.deepEqual(intake.check(), { ok: true });
});

test('it is empty when all that was fetched is done', async () => {
  const { intake, held } = await watched();
  await intake.empty();
  const working = [intake.take(ACTIVATION), intake.take(ACTIVATION)];
  let empty = false;
  const emptied = intake.empty().then(() => {
    empty = true;
  });
  await new Promise(setImmediate);
  assert.equal(empty, false);
  held.open();
  await Promise.all([...working, emptied]);
});

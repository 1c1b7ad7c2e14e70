/** An activation older than its time slice lets others go first, if any wait (facts: one job per activation). */
import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { until } from '@signalbox/local';
import { setTenantCaps } from '@signalbox/run-state';
import { NO_CAPS, openWorld, type RunSeen, script, TENANT, type World } from './harness.ts';
import { LeapClock } from './leap-clock.ts';
import type { TestWorker } from './test-worker.ts';
import { toolboxWith } from './tools.ts';

const SLICE_MS = 600_000;

const call = (key: string) => ({ tool_calls: [{ name: 'http_request', arguments: { key } }] });
const LONG = script(call('a'), call('b'), { text: 'done' });

/** A worker whose tool takes `toolMs` by the clock, and does `during` meanwhile. */
const slowWorker = async (world: World, toolMs: number, during: (key: string) => Promise<unknown>) => {
  const clock = new LeapClock();
  const toolbox = toolboxWith(async (key) => {
    await during(key);
    clock.leap(toolMs);
    return key;
  });
  return world.worker({ clock, toolbox, timeSliceMs: SLICE_MS });
};

const submitLong = (world: World) =>
  world.submit({ input: LONG, spec: { tools: ['http_request'] }, limits: { timeout_seconds: 86_400 } });

const handedOver = (run: RunSeen): string[] => run.all('run.handed_over').map(({ reason }) => reason);

/** The line is in the order of the store's milliseconds; whoever comes in the same one is in no order. */
const nextMillisecond = async ({ partition: { redis } }: World): Promise<void> => {
  const now = async (): Promise<number> => {
    const [seconds, micros] = await redis.time();
    return Number(seconds) * 1000 + Math.floor(Number(micros) / 1000);
  };
  const from = await now();
  await until('the store is in the next millisecond', async () => (await now()) > from);
};

/** Works on the first that is runnable, and only on it. */
const takeOne = async (world: World, worker: TestWorker) => {
  const activation = world.pending.shift();
  assert.ok(activation !== undefined);
  await worker.work(activation);
};

describe('the time slice of an activation', () => {
  test('is over and another run waits: it is handed over at its next step, behind the other', async () => {
    const world = await openWorld();
    let other = '';
    const worker = await slowWorker(world, SLICE_MS, async (key) => {
      if (key === 'a') other = await world.submit({ input: script({ text: 'short' }) });
    });
    const long = await submitLong(world);
    await takeOne(world, worker);
    const handed = await world.read(long);
    assert.deepEqual(handed.types.slice(-2), ['tool.completed', 'run.handed_over']);
    assert.deepEqual(handedOver(handed), ['time_slice']);
    assert.deepEqual(
      world.pending.map(({ runId }) => runId),
      [other, long],
      'it goes to the end of the line',
    );
    assert.equal(await world.field(long, 'claims'), '0', 'its claim does not count as one in vain');
    await world.settle(worker);
    const run = await world.read(long);
    assert.deepEqual([run.output, run.broken], ['done', null]);
    assert.equal(run.all('tool.requested').length, 2, 'no step is made again (R6)');
    assert.equal((await world.read(other)).output, 'short');
  });

  test('is over and nobody waits: it goes on', async () => {
    const world = await openWorld();
    const worker = await slowWorker(world, SLICE_MS * 2, async () => undefined);
    const run = await world.play(worker, {
      input: LONG,
      spec: { tools: ['http_request'] },
      limits: { timeout_seconds: 86_400 },
    });
    assert.equal(run.output, 'done');
    assert.deepEqual(handedOver(run), []);
  });

  test('is not over: it goes on, whoever waits', async () => {
    const world = await openWorld();
    const worker = await slowWorker(world, SLICE_MS / 10, () =>
      world.submit({ input: script({ text: 'x' }) }),
    );
    const long = await submitLong(world);
    await takeOne(world, worker);
    assert.equal((await world.read(long)).output, 'done');
    assert.ok(world.pending.length > 0);
  });

  test('is over, and runs of its own tenant wait for its place: they get it', async () => {
    const world = await openWorld();
    await setTenantCaps(world.partition, TENANT, { ...NO_CAPS, maxRuns: 1 });
    let other = '';
    const worker = await slowWorker(world, SLICE_MS, async (key) => {
      if (key !== 'a') return;
      other = await world.submit({ input: script({ text: 'short' }) });
      await nextMillisecond(world);
    });
    const long = await submitLong(world);
    await takeOne(world, worker);
    assert.deepEqual(handedOver(await world.read(long)), ['time_slice']);
    assert.deepEqual(
      world.pending.map(({ runId }) => runId),
      [other],
    );
    await world.settle(worker);
    assert.equal((await world.read(long)).output, 'done');
    assert.equal((await world.read(other)).output, 'short');
  });
});

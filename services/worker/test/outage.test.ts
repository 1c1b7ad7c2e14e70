/** Leases, and a Redis that goes away and comes back: nothing fails of it. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { type LocalRedis, startRedis, temporaryDir, until } from '@signalbox/local';
import { LeaseKeeper } from '../src/lease/lease-keeper.ts';
import { type Clock, createLogger, ManualClock, systemClock } from '@signalbox/runtime';
import { openWorld, script, trust } from './harness.ts';
import { gate, toolboxWith } from './tools.ts';

/** Ends with this process: connections must close before it. */
const ownRedis = async (): Promise<LocalRedis> => startRedis({ dir: await temporaryDir() });

const silent = createLogger({ service: 'test', level: 'silent' });

/** One that has just begun to open its lease. */
const startKeeper = async (url: string | undefined, leaseMs: number, clock: Clock = systemClock) => {
  const world = await openWorld(url === undefined ? {} : { url });
  const { partition } = world;
  const keeper = new LeaseKeeper(
    {
      partition,
      clock,
      logger: silent,
      leaseMs,
      heart: { beat: () => undefined },
      onActivations: () => undefined,
    },
    7,
  );
  keeper.start();
  after(() => keeper.close().catch(() => undefined));
  return { world, keeper, redis: partition.redis, root: partition.root };
};

const keeperOn = async (...args: Parameters<typeof startKeeper>) => {
  const started = await startKeeper(...args);
  await until('there is a lease', () => started.keeper.current() !== null);
  return started;
};

describe('the lease', () => {
  test('one that expired in the store is lost: its signal aborts, and a new identity is taken', async () => {
    const { keeper, redis, root } = await keeperOn(undefined, 1000);
    const old = keeper.current();
    assert.ok(old !== null && old.isLive());
    await redis.zadd(`${root}:leases`, 'XX', 1, old.leaseId);
    await until('it is lost', () => old.lost.aborted);
    assert.equal(old.isLive(), false);
    await until('there is another', () => keeper.current() !== null);
    assert.notEqual(keeper.current()?.leaseId, old.leaseId);
    assert.equal(await redis.hget(`${root}:slots`, keeper.current()?.leaseId ?? ''), '7');
  });

  test('while the store hangs it ends at its deadline, before the store could give its runs away', async () => {
    const server = await ownRedis();
    const clock = new ManualClock();
    const { keeper, redis } = await keeperOn(server.url, 1000, clock);
    const old = keeper.current();
    assert.ok(old !== null);
    await redis.call('CLIENT', 'PAUSE', '2500', 'ALL');
    await clock.whenSleeping();
    await clock.advance(200); // it is to be renewed
    await clock.whenSleeping();
    await clock.advance(700);
    await until('it is lost', () => old.lost.aborted);
    await until('there is another, once the store answers', async () => {
      await clock.advance(100);
      return keeper.current() !== null;
    });
    assert.notEqual(keeper.current()?.leaseId, old.leaseId);
    assert.equal(old.isLive(), false);
  });

  test('a drained worker offers no slots but keeps its lease; a closed one is gone', async () => {
    const { keeper, redis, root } = await keeperOn(undefined, 5000);
    const leaseId = keeper.current()?.leaseId ?? '';
    await keeper.drain();
    assert.equal(await redis.hget(`${root}:slots`, leaseId), null);
    assert.equal(keeper.current()?.leaseId, leaseId);
    await keeper.close();
    assert.equal(keeper.current(), null);
    assert.equal(await redis.zscore(`${root}:leases`, leaseId), null);
  });

  test('a worker told to go while it opens its lease has that one alone, and offers no slots with it', async () => {
    const { keeper, redis, root } = await startKeeper(undefined, 5000);
    await keeper.drain();
    assert.deepEqual(await redis.zrange(`${root}:leases`, '0', '-1'), [keeper.current()?.leaseId]);
    assert.deepEqual(await redis.hgetall(`${root}:slots`), {});
    await keeper.close();
    assert.equal(await redis.zcard(`${root}:leases`), 0);
  });
});

describe('Redis goes away', { concurrency: true }, () => {
  test('a run in the middle of a tool goes on once it is back, under the same owner', async () => {
    const server = await ownRedis();
    const world = await openWorld({ url: server.url });
    const [started, go] = [gate(), gate()];
    const toolbox = toolboxWith(async () => {
      started.open();
      await go.opened;
      return 'kept';
    });
    const worker = await world.worker({ toolbox });
    const runId = await world.submit({
      input: script(
        { tool_calls: [{ name: 'http_request', arguments: { key: 'k' } }] },
        { text: '{{tool_results}}' },
      ),
      spec: { tools: ['http_request'] },
    });
    const settled = world.settle(worker);
    await started.opened;
    await server.stop();
    go.open();
    await new Promise((resolve) => setTimeout(resolve, 700)); // the outage: commits are tried meanwhile
    await server.start();
    await trust(world.partition);
    await settled;
    const run = await world.read(runId);
    assert.equal(run.output, 'kept');
    assert.deepEqual([run.state.epoch, run.all('tool.requested').length], [1, 1]);
    assert.equal(run.broken, null);
  });

  test('an outage longer than the lease costs the owner its run, and the run nothing', async () => {
    const server = await ownRedis();
    const world = await openWorld({ url: server.url });
    const [started, go] = [gate(), gate()];
    let calls = 0;
    const toolbox = toolboxWith(
      async () => {
        calls += 1;
        started.open();
        if (calls === 1) await go.opened;
        return `call ${calls}`;
      },
      { repeatable: true },
    );
    const worker = await world.worker({ toolbox, leaseMs: 1000 });
    const runId = await world.submit({
      input: script(
        { tool_calls: [{ name: 'http_request', arguments: { key: 'k' } }] },
        { text: '{{tool_results}}' },
      ),
      spec: { tools: ['http_request'] },
    });
    const settled = world.settle(worker);
    await started.opened;
    await server.stop();
    await settled; // lost: the tool never answered, and the worker stopped waiting for it
    await server.start();
    await trust(world.partition);
    go.open();
    await until('there is a new lease', () => worker.leases.current() !== null);
    await until('the run is runnable', async () => {
      await world.repair().catch(() => undefined);
      return world.pending.length > 0;
    });
    await world.settle(worker);
    const run = await world.read(runId);
    assert.equal(run.output, 'call 2');
    assert.equal(run.state.epoch, 2);
    assert.equal(run.broken, null);
  });
});

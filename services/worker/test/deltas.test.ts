/** Text on its way to who watches: sealed, in order, and only while somebody listens. */
import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { startRedis, temporaryDir, until } from '@signalbox/local';
import { connect, createTail, disconnect, openDelta } from '@signalbox/run-state';
import { createLogger, ManualClock, newDataKey } from '@signalbox/runtime';
import { createDeltas } from '../src/run/deltas.ts';
import { openWorld, script, type World } from './harness.ts';

const TEXT = Array.from({ length: 30 }, (_, n) => `word${n} ☂`).join(' ');
const SLOW = { input: script({ text: TEXT, chunk_delay_ms: 15 }) };

const watcher = async (world: World) => {
  const redis = connect(world.url, 'subscriber', { onError: () => undefined });
  after(() => disconnect(redis));
  return createTail(redis);
};

const dataKeyOf = async (world: World, runId: string): Promise<Buffer> =>
  world.keyring.unwrap((await world.field(runId, 'key')) ?? '', runId);

/** How often the server was asked to publish. */
const published = async (world: World): Promise<number> => {
  const stats = await world.partition.redis.info('commandstats');
  return Number(/cmdstat_publish:calls=(\d+)/.exec(stats)?.[1] ?? 0);
};

describe('deltas', () => {
  test('reach a watcher sealed, coalesced and in order', async () => {
    const world = await openWorld();
    const worker = await world.worker();
    const runId = await world.submit(SLOW);
    const sealed: string[] = [];
    const steps = new Set<number>();
    const tail = await watcher(world);
    await tail.watch(world.partition, runId, (hint) => {
      if (hint.type !== 'delta') return;
      sealed.push(hint.sealed);
      steps.add(hint.step);
    });
    await world.settle(worker);
    const dataKey = await dataKeyOf(world, runId);
    const text = () => sealed.map((one) => openDelta(dataKey, runId, one)).join('');
    await until('all text is there', () => text().length >= TEXT.length);
    assert.equal(text(), TEXT);
    assert.deepEqual([...steps], [1]);
    assert.ok(sealed.length > 2 && sealed.length < 25, `${sealed.length} messages for 60 words`);
    assert.ok(sealed.every((one) => !Buffer.from(one, 'base64').includes('word')));
    assert.throws(() => openDelta(dataKey, 'run_other', sealed[0] ?? ''));
    assert.equal((await world.read(runId)).output, TEXT);
  });

  test('are not published again and again to nobody', async () => {
    // A server of its own: its statistics count everybody's messages.
    const world = await openWorld({ url: (await startRedis({ dir: await temporaryDir() })).url });
    const worker = await world.worker();
    const runId = await world.submit(SLOW);
    // Heads are published by scripts, which count as EVALSHA and PUBLISH alike: count what is beyond them.
    const before = await published(world);
    await world.settle(worker);
    const run = await world.read(runId);
    assert.equal(run.output, TEXT);
    const beyond = (await published(world)) - before - run.state.seq;
    assert.ok(beyond <= 4, `${beyond} more than there are events, in about a second of text`);
  });

  test('are not tried again for the next calls of a run either, until a second is over', async () => {
    const world = await openWorld({ url: (await startRedis({ dir: await temporaryDir() })).url });
    const { partition } = world;
    const clock = new ManualClock();
    const deltas = createDeltas(
      { partition, clock, logger: createLogger({ service: 'test', level: 'silent' }) },
      { runId: 'run_1', dataKey: newDataKey() },
    );
    const before = await published(world);
    const call = async (step: number): Promise<number> => {
      const stream = deltas(step);
      stream.push('some text');
      stream.end();
      // What is asked later is answered later.
      await partition.redis.ping();
      return (await published(world)) - before;
    };
    assert.equal(await call(1), 1);
    assert.equal(await call(2), 1);
    await clock.advance(1000);
    assert.equal(await call(3), 2);
  });
});

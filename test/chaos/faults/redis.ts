/** Redis dies, comes back, comes back with less, or is full. */
import { readdir, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '@signalbox/local';
import { connect, openPartition, readTrust } from '@signalbox/run-state';
import { between, type Fault, type Injected } from '../fault.ts';
import { lossOf, readStream, type StreamEntries } from '../losses.ts';
import type { World } from '../world.ts';

export const VERIFY_MS = 30_000;

export const incarnationOf = async ({ partition }: World): Promise<number | null> =>
  (await readTrust(partition).catch(() => null))?.incarnation ?? null;

/** The incarnation once run state is trusted again. */
export const verified = (world: World): Promise<number> =>
  waitFor(async () => (await incarnationOf(world)) ?? undefined, {
    what: 'run state to be verified',
    timeoutMs: VERIFY_MS,
  });

export const untilTrusted = (world: World, before: number) => async (): Promise<string | null> => {
  const now = await verified(world);
  return now > before ? `verified again, incarnation ${before} to ${now}` : null;
};

export const redisKill: Fault = {
  name: 'redis-kill',
  lane: 'stores',
  inject: async (world, random): Promise<Injected> => {
    const before = await verified(world);
    await world.redis.kill();
    return {
      holdMs: between(random, 300, 1500),
      heal: () => world.redis.start(),
      exercised: untilTrusted(world, before),
    };
  },
};

export const redisEmpty: Fault = {
  name: 'redis-empty',
  lane: 'stores',
  inject: async (world): Promise<Injected> => {
    const before = await verified(world);
    const { redis, root } = world.partition;
    const replies = await redis.multi().xrange(`${root}:audit`, '-', '+').dbsize().flushall().exec();
    const loss = lossOf((replies?.[0]?.[1] ?? []) as StreamEntries, 0);
    world.losses.push(loss);
    const keys = Number(replies?.[1]?.[1] ?? 0);
    const trusted = untilTrusted(world, before);
    return {
      holdMs: 0,
      heal: () => Promise.resolve(),
      exercised: async () => {
        const how = await trusted();
        return how === null || keys === 0
          ? null
          : `${keys} keys gone, ${loss.unstored.length} events not stored; ${how}`;
      },
    };
  },
};

const appendOnly = async ({ partition: { redis } }: World): Promise<string> => {
  const [, dir = ''] = await redis.config('GET', 'dir');
  const folder = join(dir, 'appendonlydir');
  const files = (await readdir(folder)).filter((name) => name.endsWith('.incr.aof'));
  const last = files.toSorted((a, b) => a.localeCompare(b, 'en', { numeric: true })).at(-1);
  if (last === undefined) throw new Error(`There is no append-only file in ${folder}.`);
  return join(folder, last);
};

const sizeOf = async (file: string): Promise<number> => (await stat(file)).size;
const PAUSE_MS = 5000;
/** fsync comes every second: a host that dies may take as much. */
const TAIL_MS = 800;

export const redisCut: Fault = {
  name: 'redis-cut',
  lane: 'stores',
  inject: async (world, random): Promise<Injected> => {
    const { redis } = world;
    const before = await verified(world);
    const file = await appendOnly(world);
    const since = Date.now();
    const earlier = await sizeOf(file);
    await sleep(between(random, TAIL_MS / 4, TAIL_MS));
    // Nobody writes any more from the look at the stream to the end of the server. A connection of its own, since
    // others stand still behind a write.
    const own = connect(redis.url, 'state', { onError: () => undefined });
    await own.client('PAUSE', PAUSE_MS, 'WRITE');
    const loss = lossOf(await readStream(openPartition(own)), since);
    const size = await sizeOf(file);
    await redis.kill();
    own.disconnect();
    const keep = Math.floor(earlier + (size - earlier) * random() * 0.6);
    await truncate(file, keep);
    world.losses.push(loss);
    const trusted = untilTrusted(world, before);
    return {
      holdMs: between(random, 50, 400),
      heal: () => redis.start(),
      exercised: async () => {
        const how = await trusted();
        return how === null || size <= keep
          ? null
          : `${size - keep} bytes of the append-only file cut off; ${how}`;
      },
    };
  },
};

const outOfMemory = async ({ partition: { redis } }: World): Promise<number> =>
  Number(/errorstat_OOM:count=(\d+)/.exec(await redis.info('errorstats'))?.[1] ?? 0);

export const redisFull: Fault = {
  name: 'redis-full',
  lane: 'stores',
  inject: async (world, random): Promise<Injected> => {
    const { redis } = world.partition;
    const before = await outOfMemory(world);
    const [, limit = '0'] = await redis.config('GET', 'maxmemory');
    await redis.config('SET', 'maxmemory', '1mb');
    let refused = 0;
    return {
      holdMs: between(random, 1200, 2500),
      heal: async () => {
        refused = (await outOfMemory(world)) - before;
        await redis.config('SET', 'maxmemory', limit);
      },
      exercised: () =>
        Promise.resolve(refused === 0 ? null : `${refused} commands refused for want of memory`),
    };
  },
};

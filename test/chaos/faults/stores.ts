/** Redis and Postgres die, come back, come back with less, are full, or stay away. */
import { readdir, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '@signalbox/local';
import { connect, openPartition, readTrust } from '@signalbox/run-state';
import { between, type Fault, type Injected } from '../fault.ts';
import { lossOf, readStream, type StreamEntries } from '../losses.ts';
import type { World } from '../world.ts';

const VERIFY_MS = 30_000;

const incarnationOf = async ({ partition }: World): Promise<number | null> =>
  (await readTrust(partition).catch(() => null))?.incarnation ?? null;

/** The incarnation once run state is trusted again. */
const verified = (world: World): Promise<number> =>
  waitFor(async () => (await incarnationOf(world)) ?? undefined, {
    what: 'run state to be verified',
    timeoutMs: VERIFY_MS,
  });

const untilTrusted = (world: World, before: number) => async (): Promise<string | null> => {
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

const storedEvents = async ({ db }: World): Promise<number> => {
  const count = db.selectFrom('audit_events').select(({ fn }) => fn.countAll<string>().as('n'));
  return Number((await count.executeTakeFirstOrThrow()).n);
};

/** Ms from the healing to the first rows that are stored again. */
const untilStored = (world: World, healedAt: () => number) => async (): Promise<number | null> => {
  const known = await waitFor(() => storedEvents(world).catch(() => undefined), {
    what: 'Postgres to answer',
    timeoutMs: VERIFY_MS,
  });
  await waitFor(async () => ((await storedEvents(world)) > known ? true : undefined), {
    what: 'events to be stored again',
    timeoutMs: VERIFY_MS,
  });
  return performance.now() - healedAt();
};

const backlogOf = ({ partition: { redis, root } }: World): Promise<number> =>
  redis.xlen(`${root}:audit`).catch(() => 0);

export const postgresDown: Fault = {
  name: 'postgres-down',
  lane: 'stores',
  inject: async (world, random): Promise<Injected> => {
    await world.postgres.stop('immediate');
    let [backlog, healedAt] = [0, 0];
    return {
      holdMs: between(random, 1000, 2500),
      heal: async () => {
        backlog = await backlogOf(world);
        await world.postgres.start();
        healedAt = performance.now();
      },
      recovered: untilStored(world, () => healedAt),
      exercised: () => Promise.resolve(backlog === 0 ? null : `${backlog} commits waited to be stored`),
    };
  },
};

const AWAY_MS = 15_000;

/** Hours, with an hour's backlog made small: it stays away until new runs are refused, and a while longer (R9). */
export const postgresAway: Fault = {
  name: 'postgres-away',
  lane: 'stores',
  inject: async (world, random): Promise<Injected> => {
    const refusals = (): number =>
      world.history.submissions.flatMap((one) => one.refusals).filter((code) => code === 'audit_backlog')
        .length;
    const before = refusals();
    await world.postgres.stop('immediate');
    await waitFor(() => (refusals() > before ? true : undefined), {
      what: 'the backlog to be full',
      timeoutMs: AWAY_MS,
    }).catch(() => undefined);
    let healedAt = 0;
    return {
      holdMs: between(random, 1000, 3000),
      heal: async () => {
        await world.postgres.start();
        healedAt = performance.now();
      },
      recovered: untilStored(world, () => healedAt),
      exercised: () => {
        const refused = refusals() - before;
        return Promise.resolve(refused === 0 ? null : `the backlog was full: ${refused} submissions refused`);
      },
    };
  },
};

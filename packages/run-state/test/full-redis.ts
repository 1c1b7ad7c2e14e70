import { startRedis, temporaryDir } from '@signalbox/local';
import type { Partition } from '../src/index.ts';
import { keyOf } from './inspect.ts';
import { freshPartition, openRedis } from './support.ts';

/** A Redis of the test file's own, whose memory can be made as full as a test wants it. */
const BALLAST_BYTES = 20_000_000;

const server = startRedis({ dir: await temporaryDir() });

export const fillableUrl = async (): Promise<string> => (await server).url;

/** An empty partition; nothing limits memory until `fillTo`. */
export const fillablePartition = async (): Promise<Partition> => {
  const redis = await openRedis('state', await fillableUrl());
  await redis.config('SET', 'maxmemory', '0');
  // Beside it, what a few more runs and connections need is little.
  await redis.setrange('ballast', BALLAST_BYTES, 'x');
  return freshPartition(redis);
};

/** Moves the limit so that this share of it is in use; more than 1 is above it. */
export const fillTo = async (partition: Partition, share: number): Promise<void> => {
  const used = Number(/used_memory:(\d+)/.exec(await partition.redis.info('memory'))?.[1]);
  await partition.redis.config('SET', 'maxmemory', String(Math.floor(used / share)));
  // Nobody waits for the next look.
  await partition.redis.hdel(keyOf(partition, 'pressure'), 'at');
};

export const FULL = 1.3;

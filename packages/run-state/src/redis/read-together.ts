import { z } from 'zod';
import type { Partition } from './partition.ts';
import { runScript } from './scripts.ts';

type Reading = readonly [
  command: 'HMGET' | 'HGETALL' | 'LRANGE' | 'ZRANGE',
  key: string,
  ...(string | number)[],
];

const Replies = z.array(z.array(z.string().nullable()));

/** Replies to reads that are made at one instant. Throws `state_unavailable`. */
export const readTogether = async (
  partition: Partition,
  readings: readonly Reading[],
): Promise<(string | null)[][]> =>
  Replies.parse(await runScript(partition, 'read', [JSON.stringify(readings)]));

import type { Partition } from './partition.ts';
import { runScript } from './scripts.ts';

/** One field of a hash each: thousands of arguments would not fit on Lua's stack. */
export type Writing =
  | readonly [command: 'SET', key: string, value: string, ...'NX'[]]
  | readonly [command: 'SET', key: string, value: string, 'PXAT', untilMs: number, 'NX']
  | readonly [command: 'ZADD', key: string, 'XX', score: number, member: string]
  | readonly [command: 'HSET' | 'HSETNX', key: string, field: string, value: string]
  | readonly [command: 'HDEL', key: string, field: string]
  | readonly [command: 'DEL', key: string];

/**
 * Writes what is mirrored from Postgres, or only says when to look again, all at one instant, also while memory is full.
 * Throws `state_unavailable`.
 */
export const writeTogether = async (partition: Partition, writings: readonly Writing[]): Promise<void> => {
  await runScript(partition, 'write', [JSON.stringify(writings)]);
};

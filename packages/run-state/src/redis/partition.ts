import type { Redis } from 'ioredis';

/**
 * One partition of run state: the Redis that holds it and the root of its keys. Everything of a tenant
 * lies under one root, whose hash tag keeps every script in one slot (Partitions).
 */
export interface Partition {
  readonly index: number;
  readonly root: string;
  readonly redis: Redis;
}

/** `namespace` separates deployments (and tests) that share a Redis. */
export const openPartition = (
  redis: Redis,
  options: { index?: number; namespace?: string } = {},
): Partition => {
  const { index = 0, namespace = 'sb' } = options;
  return { index, root: `${namespace}:{p${index}}`, redis };
};

export const runKey = (
  partition: Partition,
  runId: string,
  part?: 'events' | 'contents' | 'inbox' | 'holds',
): string =>
  part === undefined ? `${partition.root}:run:${runId}` : `${partition.root}:run:${runId}:${part}`;

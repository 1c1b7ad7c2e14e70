/** Redis and Postgres of one measurement, with the process ids that count as theirs. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { startPostgres, startRedis } from '@signalbox/local';
import { Redis } from 'ioredis';
import type { ProcessGroup } from './process-tree.ts';
import type { Context } from './trial.ts';

export interface Server {
  readonly url: string;
  readonly group: ProcessGroup;
  stop(): Promise<void>;
}

export const benchRedis = async ({ dir, appendfsync }: Context): Promise<Server> => {
  const server = await startRedis({ dir: join(dir, 'redis') });
  const redis = new Redis(server.url);
  await redis.config('SET', 'appendfsync', appendfsync);
  const pid = Number(/process_id:(\d+)/.exec(await redis.info('server'))?.[1]);
  redis.disconnect();
  return { url: server.url, group: { name: 'redis', roots: [pid] }, stop: () => server.stop() };
};

/** Durable, as it is by default: commits wait for the disk. */
export const benchPostgres = async ({ dir }: Context): Promise<Server> => {
  const home = join(dir, 'postgres');
  const server = await startPostgres({ dir: home });
  const pid = Number(readFileSync(join(home, 'data', 'postmaster.pid'), 'utf8').split('\n')[0]);
  const url = await server.createDatabase('bench');
  return { url, group: { name: 'postgres', roots: [pid] }, stop: () => server.stop() };
};

/** Whatever did start is stopped, last first, also when the work or a start fails. */
export const withStops = async <T>(
  work: (onStop: (stop: () => Promise<unknown>) => void) => Promise<T>,
): Promise<T> => {
  const stops: (() => Promise<unknown>)[] = [];
  try {
    return await work((stop) => stops.push(stop));
  } finally {
    for (const stop of stops.toReversed()) await stop();
  }
};

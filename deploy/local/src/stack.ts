/**
 * Owns the whole of Signalbox on this machine: Redis, Postgres, api, scheduler, audit-writer and workers.
 * Started in that order of need and stopped in the reverse: no new work, work ends, the record is written,
 * then the stores. What did start is stopped again when something does not.
 */
import { join } from 'node:path';
import { lockDir } from './lock.ts';
import { startPostgres } from './postgres.ts';
import { startRedis } from './redis.ts';
import { type Services, type StackOptions, startServices, type Stop, together } from './services.ts';

export interface Stack extends Services {
  stop(): Promise<void>;
}

async function redisStore(dir: string, given: string | undefined, stops: Stop[]): Promise<string> {
  if (given !== undefined) return given;
  const redis = await startRedis({ dir: join(dir, 'redis'), port: 6379 });
  stops.push(() => redis.stop());
  return redis.url;
}

async function postgresStore(dir: string, given: string | undefined, stops: Stop[]): Promise<string> {
  if (given !== undefined) return given;
  const postgres = await startPostgres({ dir: join(dir, 'postgres'), port: 5432 });
  stops.push(() => postgres.stop());
  return await postgres.createDatabase('signalbox', { ifMissing: true });
}

async function stopAll(stops: Stop[]): Promise<void> {
  const failures: unknown[] = [];
  for (let stop = stops.pop(); stop !== undefined; stop = stops.pop()) {
    await stop().catch((error: unknown) => failures.push(error));
  }
  if (failures.length > 0) throw new AggregateError(failures, 'The local stack did not stop in good order.');
}

/** Starts everything (REDIS_URL and DATABASE_URL, when set, are used instead of own servers). */
export async function startStack(options: StackOptions): Promise<Stack> {
  const unlock = await lockDir(options.dir);
  const stops: Stop[] = [async () => unlock()];
  const given = { ...process.env, ...options.env };
  try {
    const [redisUrl, databaseUrl] = await together([
      redisStore(options.dir, given['REDIS_URL'] || undefined, stops),
      postgresStore(options.dir, given['DATABASE_URL'] || undefined, stops),
    ]);
    if (redisUrl === undefined || databaseUrl === undefined)
      throw new Error('Redis or Postgres did not start.');
    const services = await startServices(options, { redisUrl, databaseUrl }, stops);
    return { ...services, stop: () => stopAll(stops) };
  } catch (error) {
    await stopAll(stops).catch((stopping: unknown) => console.error(stopping));
    throw error;
  }
}

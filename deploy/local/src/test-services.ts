/**
 * Real servers for tests. `deploy/local/test.ts` starts one Redis and one Postgres for all test files and
 * names them in TEST_REDIS_URL and TEST_DATABASE_URL; a test file run alone gets its own, once per process,
 * gone when the process is. Tests share them: isolate by key prefix and by database name.
 */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { startPostgres } from './postgres.ts';
import { removeAtEnd } from './reaper.ts';
import { startRedis } from './redis.ts';

let redis: Promise<string> | undefined;
let postgres: Promise<string> | undefined;

/** A directory that is removed after this process and its children are gone. */
export async function temporaryDir(): Promise<string> {
  const dir = await mkdtemp(join(tmpdir(), 'signalbox-'));
  removeAtEnd(dir);
  return dir;
}

async function ownRedis(): Promise<string> {
  return (await startRedis({ dir: await temporaryDir() })).url;
}

async function ownPostgres(): Promise<string> {
  return (await startPostgres({ dir: await temporaryDir(), durable: false })).url;
}

/** `redis://...`; may hold keys of other tests. */
export async function testRedisUrl(): Promise<string> {
  return process.env['TEST_REDIS_URL'] ?? (await (redis ??= ownRedis()));
}

/** `postgres://...` of a superuser; make an own database on it with createDatabase. */
export async function testDatabaseUrl(): Promise<string> {
  return process.env['TEST_DATABASE_URL'] ?? (await (postgres ??= ownPostgres()));
}

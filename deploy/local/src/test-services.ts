/**
 * Real servers for tests. `deploy/local/test.ts` starts one Redis and one Postgres for all test files and
 * names them in TEST_REDIS_URL and TEST_DATABASE_URL; a test file run alone gets its own, once per process,
 * gone when the process is. Tests share them: isolate by key prefix and by database name.
 * Today's schema is made once per run (TEST_RUN), and copied.
 */
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Client } from 'pg';
import { createDatabase, type CreateDatabaseOptions } from './database.ts';
import { startPostgres } from './postgres.ts';
import { removeAtEnd } from './reaper.ts';
import { startRedis } from './redis.ts';
import { databaseNameOf, newRunId } from './test-databases.ts';

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

let ownRun: string | undefined;

const nameOf = (name: string): string =>
  databaseNameOf(process.env['TEST_RUN'] ?? (ownRun ??= newRunId()), name);

/** Of a database of this run, whether it is there or not. */
export async function testDatabaseUrlOf(name: string): Promise<string> {
  const url = new URL(await testDatabaseUrl());
  url.pathname = `/${nameOf(name)}`;
  return url.href;
}

/** A new database on the server of the tests; gone when the run is over. Answers its URL. */
export async function createTestDatabase(name: string, options: CreateDatabaseOptions = {}): Promise<string> {
  return createDatabase(await testDatabaseUrl(), nameOf(name), options);
}

async function makeTemplate(serverUrl: string, name: string, migrate: Migrate): Promise<void> {
  const client = new Client({ connectionString: serverUrl });
  await client.connect();
  try {
    await client.query('select pg_advisory_lock(hashtext($1))', [name]);
    const made = await client.query('select from pg_database where datname = $1 and datistemplate', [name]);
    if (made.rowCount !== 0) return;
    await migrate(await createDatabase(serverUrl, name, { ifMissing: true }));
    await client.query(`alter database ${client.escapeIdentifier(name)} is_template true`);
  } finally {
    await client.end();
  }
}

type Migrate = (databaseUrl: string) => Promise<unknown>;

let template: Promise<string> | undefined;

/** The URL of a new database as `migrate` makes it; it is called once for all tests. */
export async function migratedTestDatabase(name: string, migrate: Migrate): Promise<string> {
  const serverUrl = await testDatabaseUrl();
  const copyOf = nameOf('template');
  template ??= makeTemplate(serverUrl, copyOf, migrate).then(() => copyOf);
  return createTestDatabase(name, { copyOf: await template });
}

/**
 * Brings a database to the newest schema: numbered files, forward only. Each file is applied once, in
 * one transaction with its line in schema_migrations; an advisory lock lets any number of processes
 * try at once. It may run beside the services: a statement that waits for a table gives up after a moment and is tried
 * again, since everybody else who wants the table queues up behind it. `node packages/audit-store/src/migrate.ts` does
 * it with DATABASE_URL.
 */
import { createHash } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { systemClock } from '@signalbox/runtime';
import pg from 'pg';
import { migrateConfig } from './config.ts';
import { prepareSession } from './db/session.ts';

const MIGRATIONS = new URL('../migrations/', import.meta.url);
/** Any number will do that nobody else locks in this database. */
const LOCK = 7_302_618_445;

/** How long others may be held up behind a statement that waits for a table; less than their own patience. */
const LOCK_TIMEOUT_MS = 1000;
const LOCK_NOT_AVAILABLE = '55P03';
/** Whoever holds the table for minutes is not there by mistake. */
const ATTEMPTS = 60;
const PAUSE_MS = 1000;

interface Migration {
  readonly name: string;
  readonly text: string;
  readonly sha256: string;
}

/** An applied file is not what it was. */
export class EditedMigrationError extends Error {
  override readonly name = 'EditedMigrationError';

  constructor(name: string) {
    super(
      `migration ${name} was applied to this database with another content; restore the file and put the change into a new one`,
    );
  }
}

export const loadMigrations = async (directory: URL = MIGRATIONS): Promise<Migration[]> => {
  const names = (await readdir(directory)).filter((name) => /^\d{4}_\w+\.sql$/.test(name));
  return Promise.all(
    names.toSorted().map(async (name) => {
      const text = await readFile(new URL(name, directory), 'utf8');
      return { name, text, sha256: createHash('sha256').update(text).digest('hex') };
    }),
  );
};

const applyOnce = async (client: pg.ClientBase, migration: Migration): Promise<boolean> => {
  await client.query(`
    create table if not exists schema_migrations (
      name text primary key,
      sha256 text not null,
      applied_at timestamptz not null default now()
    )`);
  const { rows } = await client.query<{ sha256: string }>(
    'select sha256 from schema_migrations where name = $1',
    [migration.name],
  );
  const [applied] = rows;
  if (applied !== undefined) {
    if (applied.sha256 !== migration.sha256) throw new EditedMigrationError(migration.name);
    return false;
  }
  await client.query(`set local lock_timeout = ${LOCK_TIMEOUT_MS}`);
  await client.query(migration.text);
  await client.query('insert into schema_migrations (name, sha256) values ($1, $2)', [
    migration.name,
    migration.sha256,
  ]);
  return true;
};

const applyLocked = async (client: pg.ClientBase, migration: Migration): Promise<boolean> => {
  await client.query('begin');
  try {
    await client.query('select pg_advisory_xact_lock($1)', [LOCK]);
    const applied = await applyOnce(client, migration);
    await client.query('commit');
    return applied;
  } catch (error) {
    await client.query('rollback').catch(() => undefined);
    throw error;
  }
};

const isLockedOut = (error: unknown): boolean =>
  error instanceof pg.DatabaseError && error.code === LOCK_NOT_AVAILABLE;

const applyPatiently = async (client: pg.ClientBase, migration: Migration): Promise<boolean> => {
  for (let attempt = 1; ; attempt += 1) {
    try {
      return await applyLocked(client, migration);
    } catch (error) {
      if (!isLockedOut(error) || attempt === ATTEMPTS) throw error;
      await systemClock.sleep(PAUSE_MS);
    }
  }
};

const applyAll = async (client: pg.ClientBase, migrations: readonly Migration[]): Promise<string[]> => {
  const applied: string[] = [];
  for (const migration of migrations) {
    if (await applyPatiently(client, migration)) applied.push(migration.name);
  }
  return applied;
};

/** Answers the names of the files that were applied now. Throws `EditedMigrationError` and pg's errors. */
export const migrate = async (
  database: string | pg.ClientBase,
  migrations?: readonly Migration[],
): Promise<string[]> => {
  const wanted = migrations ?? (await loadMigrations());
  if (typeof database !== 'string') return applyAll(database, wanted);
  const client = new pg.Client({
    connectionString: database,
    application_name: 'signalbox-migrate',
    connectionTimeoutMillis: 10_000,
  });
  await client.connect();
  try {
    await prepareSession(client);
    return await applyAll(client, wanted);
  } finally {
    await client.end();
  }
};

const main = async (): Promise<void> => {
  const { databaseUrl } = migrateConfig();
  try {
    const applied = await migrate(databaseUrl);
    process.stdout.write(applied.length === 0 ? 'schema is up to date\n' : `applied ${applied.join(', ')}\n`);
  } catch (error) {
    const why = error instanceof Error ? error.message || String(error) : String(error);
    process.stderr.write(`migration failed: ${why}\n`);
    process.exitCode = 1;
  }
};

if (import.meta.main) await main();

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { sql } from 'kysely';
import { waitFor } from '@signalbox/local';
import { connect, emptyDatabase } from '../test/support.ts';
import { EditedMigrationError, loadMigrations, migrate } from './migrate.ts';
import { dumpSchema } from './db/schema-dump.ts';

const MAIN = fileURLToPath(new URL('./migrate.ts', import.meta.url));

const run = async (databaseUrl?: string): Promise<{ code: unknown; out: string; err: string }> => {
  const env = {
    PATH: process.env['PATH'],
    NODE_COMPILE_CACHE: process.env['NODE_COMPILE_CACHE'],
    ...(databaseUrl === undefined ? {} : { DATABASE_URL: databaseUrl }),
  };
  const child = spawn(process.execPath, [MAIN], { env });
  const text = { out: '', err: '' };
  child.stdout.on('data', (chunk: Buffer) => (text.out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (text.err += chunk.toString()));
  const [code] = await once(child, 'close');
  return { code, ...text };
};

test('schema.sql is what the migrations make', async () => {
  const url = await emptyDatabase();
  await migrate(url);
  const committed = await readFile(new URL('../schema.sql', import.meta.url), 'utf8');
  assert.equal(
    await dumpSchema(connect(url)),
    committed,
    'run `npm run schema --prefix packages/audit-store` and look at the difference',
  );
});

test('several processes at once, and again: each file is applied once', async () => {
  const url = await emptyDatabase();
  const results = await Promise.all([run(url), run(url), run(url)]);
  assert.deepEqual(
    results.map(({ code, err }) => [code, err]),
    [0, 1, 2].map(() => [0, '']),
  );
  const applied = results.flatMap(({ out }) => out.match(/\d{4}_\w+\.sql/g) ?? []);
  const names = (await loadMigrations()).map(({ name }) => name);
  assert.deepEqual(applied.toSorted(), names);
  assert.deepEqual(await run(url), { code: 0, out: 'schema is up to date\n', err: '' });
});

test('many clients of databases on one server, at once', async () => {
  const urls = await Promise.all([emptyDatabase(), emptyDatabase()]);
  const applied = await Promise.all([...urls, ...urls, ...urls].map((url) => migrate(url)));
  assert.equal(applied.flat().length, 2 * (await loadMigrations()).length);
});

test('an applied file that was edited is refused, and nothing is applied', async () => {
  const url = await emptyDatabase();
  const migrations = await loadMigrations();
  await migrate(url, migrations.slice(0, 1));
  const edited = migrations.map((migration, index) =>
    index === 0 ? { ...migration, sha256: 'other' } : migration,
  );
  await assert.rejects(migrate(url, edited), EditedMigrationError);
  assert.deepEqual(
    (await sql<{ name: string }>`select name from schema_migrations`.execute(connect(url))).rows,
    [{ name: migrations[0]?.name }],
  );
});

test('a failing file leaves nothing behind', async () => {
  const url = await emptyDatabase();
  const broken = {
    name: '0001_broken.sql',
    text: 'create table half (id int); select nonsense',
    sha256: 'x',
  };
  await assert.rejects(migrate(url, [broken]), /nonsense/);
  const { rows } = await sql`select relname from pg_class where relname = 'half'`.execute(connect(url));
  assert.deepEqual(rows, []);
});

test('a table in use: the migration gives way to who came behind it, and is applied when the table is free', async () => {
  const url = await emptyDatabase();
  await migrate(url);
  const db = connect(url);
  const release = Promise.withResolvers<void>();
  const reading = Promise.withResolvers<void>();
  const reader = db.transaction().execute(async (tx) => {
    await sql`select 1 from runs`.execute(tx);
    reading.resolve();
    await release.promise;
  });
  await reading.promise;
  const change = { name: '9999_change.sql', text: 'alter table runs add column extra int', sha256: 'x' };
  const migrations = [...(await loadMigrations()), change];
  // Two at once, as two pods of a rollout.
  const migrating = Promise.all([migrate(url, migrations), migrate(url, migrations)]);
  const isWaiting = async (): Promise<true | undefined> => {
    const { rows } = await sql`select 1 from pg_locks where not granted and mode = 'AccessExclusiveLock'
      and relation = 'runs'::regclass and database = (select oid from pg_database where datname = current_database())`.execute(
      db,
    );
    return rows.length > 0 ? true : undefined;
  };
  await waitFor(isWaiting, { what: 'the migration to wait for the table', timeoutMs: 60_000, everyMs: 20 });
  // While the reader is still there: a write that queues up behind the migration goes through.
  await sql`insert into runs (id, tenant_id, root_run_id, created_at) values ('r', 't', 'r', now())`.execute(
    db,
  );
  release.resolve();
  await reader;
  assert.deepEqual((await migrating).flat(), [change.name]);
  assert.deepEqual((await sql`select extra from runs`.execute(db)).rows, [{ extra: null }]);
});

test('a bad environment: one message, exit 78; an unreachable server: one message, exit 1', async () => {
  assert.deepEqual(await run(), {
    code: 78,
    out: '',
    err: 'bad configuration:\n  DATABASE_URL is missing: expected a URL: postgres://... or postgresql://...\n',
  });
  const malformed = await run('mysql://user:secret@host/db');
  assert.equal(malformed.code, 78);
  assert.match(malformed.err, /DATABASE_URL is malformed/);
  assert.doesNotMatch(malformed.err, /secret/);
  const unreachable = await run('postgres://user:secret@127.0.0.1:1/db');
  assert.equal(unreachable.code, 1);
  assert.match(unreachable.err, /^migration failed: .*ECONNREFUSED/);
  assert.doesNotMatch(unreachable.err, /secret/);
});

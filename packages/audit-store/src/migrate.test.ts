import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { sql } from 'kysely';
import { connect, emptyDatabase } from '../test/support.ts';
import { EditedMigrationError, loadMigrations, migrate } from './migrate.ts';
import { dumpSchema } from './schema-dump.ts';

const MAIN = fileURLToPath(new URL('./migrate.ts', import.meta.url));

const run = async (databaseUrl?: string): Promise<{ code: unknown; out: string; err: string }> => {
  const env = {
    PATH: process.env['PATH'],
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
    'run `pnpm --filter @signalbox/audit-store schema` and look at the difference',
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

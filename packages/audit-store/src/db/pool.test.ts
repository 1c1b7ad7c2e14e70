import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { test } from 'node:test';
import { SignalboxError } from '@signalbox/contracts';
import { sql } from 'kysely';
import { recordOf, simpleJournal, TENANT } from '../../test/journal.ts';
import { connect, emptyDatabase, migratedDatabase } from '../../test/support.ts';
import { migrate } from '../migrate.ts';
import { createPool, ping } from './pool.ts';
import { readRun } from '../runs/read-runs.ts';
import { writeBatch } from '../write/write-batch.ts';

const unavailable = (error: unknown): boolean =>
  error instanceof SignalboxError && error.code === 'audit_store_unavailable' && error.retryable;

test('nobody listens: every way in says audit_store_unavailable', async () => {
  const server = createServer().listen(0, '127.0.0.1');
  await new Promise((resolve) => server.once('listening', resolve));
  const address = server.address();
  const port = typeof address === 'object' && address !== null ? address.port : assert.fail();
  await new Promise((resolve) => server.close(resolve));
  const db = createPool({ databaseUrl: `postgres://u:p@127.0.0.1:${port}/db`, role: 'api' });
  const { runId, entries } = simpleJournal();
  await assert.rejects(ping(db), unavailable);
  await assert.rejects(readRun(db, TENANT, runId), unavailable);
  await assert.rejects(writeBatch(db, [recordOf(runId, entries)]), unavailable);
  await db.destroy();
});

test('no connection can be made, for whatever reason: it is not the request that is at fault', async () => {
  const url = new URL(await emptyDatabase());
  const elsewhere = new URL(url);
  elsewhere.pathname = '/not_restored_yet';
  const encrypted = new URL(url);
  encrypted.searchParams.set('sslmode', 'verify-full');
  for (const { href } of [elsewhere, encrypted]) {
    const db = createPool({ databaseUrl: href, role: 'api' });
    const { runId, entries } = simpleJournal();
    await assert.rejects(readRun(db, TENANT, runId), unavailable);
    await assert.rejects(writeBatch(db, [recordOf(runId, entries)]), unavailable);
    await db.destroy();
  }
});

test('a connection that is cut while a batch waits: retryable, and the same batch then goes in', async () => {
  const url = await emptyDatabase();
  await migrate(url);
  const errors: Error[] = [];
  const db = createPool({ databaseUrl: url, role: 'writer', onError: (error) => errors.push(error) });
  const other = connect(url);
  const { runId, entries } = simpleJournal();
  await writeBatch(db, [recordOf(runId, entries.slice(0, 1))]);
  let writing: Promise<unknown> = Promise.resolve();
  await other.transaction().execute(async (tx) => {
    await sql`select from runs where id = ${runId} for update`.execute(tx);
    writing = assert.rejects(writeBatch(db, [recordOf(runId, entries)]), unavailable);
    let cut = 0;
    while (cut === 0) {
      const { rows } = await sql`
        select pg_terminate_backend(pid) from pg_stat_activity
        where datname = current_database() and wait_event_type = 'Lock'`.execute(tx);
      cut = rows.length;
    }
  });
  await writing;
  const result = await writeBatch(db, [recordOf(runId, entries)]);
  assert.deepEqual([result.inserted, result.duplicates], [4, 1]);
  await db.destroy();
});

test('a connection whose answer does not come is not used again', async () => {
  const db = createPool({ databaseUrl: await emptyDatabase(), role: 'api' });
  await db.connection().execute(async (connection) => {
    await sql`set statement_timeout = 0`.execute(connection);
    await assert.rejects(sql`select pg_sleep(60)`.execute(connection), /read timeout/);
  });
  await ping(db);
  await db.destroy();
});

test('an idle connection that breaks is reported, not thrown, and replaced', async () => {
  const url = await emptyDatabase();
  const broken = Promise.withResolvers<Error>();
  const db = createPool({ databaseUrl: url, role: 'api', onError: broken.resolve });
  await ping(db);
  await sql`select pg_terminate_backend(pid) from pg_stat_activity
    where datname = current_database() and pid <> pg_backend_pid()`.execute(connect(url));
  assert.match((await broken.promise).message, /terminat/);
  await ping(db);
  await db.destroy();
});

test('the server is told the limits of the role', async () => {
  const url = await emptyDatabase();
  const setting = async (role: 'api' | 'writer') => {
    const db = createPool({ databaseUrl: url, role });
    const { rows } = await sql<{ t: string; name: string }>`
      select current_setting('statement_timeout') as t, current_setting('application_name') as name`.execute(
      db,
    );
    await db.destroy();
    return rows[0];
  };
  assert.deepEqual(await setting('api'), { t: '5s', name: 'signalbox-api' });
  assert.deepEqual(await setting('writer'), { t: '30s', name: 'signalbox-writer' });
});

test('a missing schema is no passing trouble: the error says what it is', async () => {
  const { runId, entries } = simpleJournal();
  const db = connect(await emptyDatabase());
  await assert.rejects(writeBatch(db, [recordOf(runId, entries)]), /relation "runs" does not exist/);
  await assert.rejects(readRun(db, TENANT, runId), /relation "runs" does not exist/);
});

test('bigint and date come as number and text', async () => {
  const db = await migratedDatabase();
  const { rows } = await sql`select 9000000000000000::bigint as n, date '2026-11-21' as d`.execute(db);
  assert.deepEqual(rows, [{ n: 9_000_000_000_000_000, d: '2026-11-21' }]);
});

test('what a database sets of dates, isolation and schemas changes neither what is read nor what is seen', async () => {
  const url = await emptyDatabase();
  const other = connect(url);
  const { rows: settings } = await sql<{ set: string }>`
    select format('alter database %I set %s', current_database(), setting) as set from unnest(array[
      'datestyle to german', 'default_transaction_isolation to serializable', 'search_path to own, public'
    ]) setting`.execute(other);
  await sql`create schema own`.execute(other);
  for (const { set } of settings) await sql.raw(set).execute(other);
  await Promise.all([migrate(url), migrate(url)]);
  const db = createPool({ databaseUrl: url, role: 'api' });
  const { rows } = await sql<{ at: Date | null; isolation: string }>`
    select timestamptz '2026-11-21 10:00Z' as at, current_setting('transaction_isolation') as isolation`.execute(
    db,
  );
  await db.destroy();
  assert.deepEqual(rows, [{ at: new Date('2026-11-21T10:00:00Z'), isolation: 'read committed' }]);
});

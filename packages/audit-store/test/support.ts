/** Databases of their own for the tests of this package, on a real server. */
import { randomBytes } from 'node:crypto';
import { after } from 'node:test';
import { migratedTestDatabase, testDatabaseUrl } from '@signalbox/local';
import pg from 'pg';
import { migrate } from '../src/migrate.ts';
import { createPool, type Db } from '../src/db/pool.ts';

const cleanups: (() => Promise<unknown>)[] = [];

after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup();
});

const newName = (): string => `signalbox_test_${randomBytes(6).toString('hex')}`;

const onServer = async (statement: string): Promise<void> => {
  const client = new pg.Client({ connectionString: await testDatabaseUrl() });
  await client.connect();
  try {
    await client.query(statement);
  } finally {
    await client.end();
  }
};

/** URL of a new, empty database; dropped when the tests of this process are over. */
export const emptyDatabase = async (): Promise<string> => {
  const name = newName();
  await onServer(`create database ${name} encoding 'UTF8' template template0`);
  cleanups.push(() => onServer(`drop database ${name} with (force)`));
  const url = new URL(await testDatabaseUrl());
  url.pathname = `/${name}`;
  return url.href;
};

/** A pool on a database; closed when the tests of this process are over. */
export const connect = (databaseUrl: string): Db => {
  const db = createPool({ databaseUrl, role: 'writer' });
  cleanups.push(() => db.destroy());
  return db;
};

/** A pool on a new database with the newest schema. */
export const migratedDatabase = async (): Promise<Db> => {
  const name = newName();
  const url = await migratedTestDatabase(name, migrate);
  cleanups.push(() => onServer(`drop database ${name} with (force)`));
  return connect(url);
};

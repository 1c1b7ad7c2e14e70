/** Databases of their own for the tests of this package, on a real server. */
import { randomBytes } from 'node:crypto';
import { after } from 'node:test';
import { createTestDatabase, migratedTestDatabase, testDatabaseUrl } from '@signalbox/local';
import pg from 'pg';
import { migrate } from '../src/migrate.ts';
import { createPool, type Db } from '../src/db/pool.ts';

const cleanups: (() => Promise<unknown>)[] = [];

after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup();
});

const newName = (): string => `store_${randomBytes(6).toString('hex')}`;

const dropDatabase = async (url: string): Promise<void> => {
  const client = new pg.Client({ connectionString: await testDatabaseUrl() });
  await client.connect();
  try {
    await client.query(`drop database ${new URL(url).pathname.slice(1)} with (force)`);
  } finally {
    await client.end();
  }
};

/** URL of a new, empty database; dropped when the tests of this process are over. */
export const emptyDatabase = async (): Promise<string> => {
  const url = await createTestDatabase(newName());
  cleanups.push(() => dropDatabase(url));
  return url;
};

/** A pool on a database; closed when the tests of this process are over. */
export const connect = (databaseUrl: string): Db => {
  const db = createPool({ databaseUrl, role: 'writer' });
  cleanups.push(() => db.destroy());
  return db;
};

/** A pool on a new database with the newest schema. */
export const migratedDatabase = async (): Promise<Db> => {
  const url = await migratedTestDatabase(newName(), migrate);
  cleanups.push(() => dropDatabase(url));
  return connect(url);
};

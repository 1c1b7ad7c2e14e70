/** What a read takes of Postgres, told without a clock: it grows with what is asked for, never with what is stored. */
import { CompiledQuery, type KyselyPlugin, sql } from 'kysely';
import type { Db } from '../src/db/pool.ts';

interface Explained {
  readonly Plan: { readonly 'Shared Hit Blocks': number; readonly 'Shared Read Blocks': number };
}

/** Runs `read`, and each of its statements again for the pages of tables and indexes that it went through. */
export const pagesByStatement = async (
  db: Db,
  read: (db: Db) => Promise<unknown>,
): Promise<readonly number[]> => {
  const statements: CompiledQuery[] = [];
  const recorder: KyselyPlugin = {
    transformQuery: ({ node, queryId }) => {
      statements.push(db.getExecutor().compileQuery(node, queryId));
      return node;
    },
    transformResult: ({ result }) => Promise.resolve(result),
  };
  await read(db.withPlugin(recorder));
  const pages: number[] = [];
  for (const statement of statements) {
    const text = `explain (analyze, buffers, format json) ${statement.sql}`;
    const { rows } = await db.executeQuery<{ 'QUERY PLAN': readonly Explained[] }>(
      CompiledQuery.raw(text, [...statement.parameters]),
    );
    const [explained] = rows[0]?.['QUERY PLAN'] ?? [];
    const { 'Shared Hit Blocks': hit = NaN, 'Shared Read Blocks': fetched = NaN } = explained?.Plan ?? {};
    pages.push(hit + fetched);
  }
  return pages;
};

/** Of all its statements together. */
export const pagesRead = async (db: Db, read: (db: Db) => Promise<unknown>): Promise<number> =>
  (await pagesByStatement(db, read)).reduce((sum, pages) => sum + pages, 0);

/** Characters of the largest answer that `read` got of one statement. */
export const largestAnswer = async (db: Db, read: (db: Db) => Promise<unknown>): Promise<number> => {
  let largest = 0;
  const recorder: KyselyPlugin = {
    transformQuery: ({ node }) => node,
    transformResult: ({ result }) => {
      largest = Math.max(largest, JSON.stringify(result.rows).length);
      return Promise.resolve(result);
    },
  };
  await read(db.withPlugin(recorder));
  return largest;
};

/** What autovacuum does in time: the planner knows how much there is, and indexes what everybody sees. */
export const settle = async (db: Db, table: string): Promise<void> => {
  // What is not on disk yet is not known to be committed for good; servers of tests write it later.
  await db.transaction().execute(async (tx) => {
    await sql`set local synchronous_commit = on`.execute(tx);
    await sql`analyze ${sql.table(table)}`.execute(tx);
  });
  await sql`vacuum ${sql.table(table)}`.execute(db);
};

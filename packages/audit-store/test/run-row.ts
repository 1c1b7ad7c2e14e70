import type { Db } from '../src/db/pool.ts';

/** The row of a run. A test file names its database before there is one, hence the function. */
export const runRowIn = (db: () => Db) => (id: string) =>
  db().selectFrom('runs').selectAll().where('id', '=', id).executeTakeFirstOrThrow();

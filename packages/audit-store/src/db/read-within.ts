import { type RawBuilder, sql } from 'kysely';
import type { Db } from './pool.ts';

/**
 * A page that ends early where its rows are large: what one answer may take of its process, whoever else waits. Sizes
 * are known before anything large is read.
 */

export interface Bounds {
  /** Of the rows, by their columns. */
  readonly order: RawBuilder<unknown>;
  readonly maxBytes: number;
  /** What else is read of each row that is answered, and of no other: a query over them. */
  readonly and?: (rows: RawBuilder<unknown>) => RawBuilder<unknown>;
}

export interface RowsWithin<Row> {
  /** One at least, or no list would go on. */
  readonly rows: readonly Row[];
  /** Some were left out for their size. */
  readonly cut: boolean;
}

interface Sized {
  readonly bytes: number;
  readonly bytes_before: number;
  readonly found: number;
}

/** The first of `rows`, a query whose column `bytes` says how large each is. */
export const readWithin = async <Row extends object>(
  db: Db,
  rows: RawBuilder<unknown>,
  { order, maxBytes, and = (page) => page }: Bounds,
): Promise<RowsWithin<Row>> => {
  const page = sql`
    select * from (
      select *, count(*) over () as found,
        sum(bytes) over (order by ${order} rows unbounded preceding) - bytes as bytes_before
      from (${rows}) as listed) as sized
    where bytes_before < ${maxBytes}`;
  const { rows: read } = await sql<Row & Sized>`
    select * from (${and(page)}) as page order by ${order}`.execute(db);
  return {
    rows: read.map(({ bytes: _, bytes_before: __, found: ___, ...row }) => row as unknown as Row),
    cut: read.length < (read[0]?.found ?? 0),
  };
};

import type { RowsWithin } from './read-within.ts';

/** A page of a list. */
export interface Page<Row, Place> {
  readonly rows: readonly Row[];
  /** The list goes on behind this place, which may be that of none of the rows; null: that was all. */
  readonly next: Place | null;
}

/** A page of `limit` rows from what was read one row too long; `lookedTo`: a look that ended there before it was full. */
export const pageOf = <Row, Place>(
  read: readonly Row[],
  { limit, placeOf, lookedTo = null }: PageTerms<Row, Place>,
): Page<Row, Place> => {
  const rows = read.slice(0, limit);
  const last = rows.at(-1);
  return { rows, next: read.length > limit && last !== undefined ? placeOf(last) : lookedTo };
};

interface PageTerms<Row, Place> {
  readonly limit: number;
  readonly placeOf: (row: Row) => Place;
  readonly lookedTo?: Place | null;
}

/**
 * Keyset paging: `read` gives up to `limit` rows behind the last one of the page before (null: the first ones), in an
 * order of their own; fewer where they were cut for their size. Else a page that is not full is the last one; empty
 * ones are left out.
 */
export async function* pagesWithin<Row>(
  limit: number,
  read: (last: Row | null) => Promise<RowsWithin<Row>>,
): AsyncGenerator<readonly Row[], undefined> {
  for (let last: Row | null = null; ; ) {
    const { rows, cut }: RowsWithin<Row> = await read(last);
    if (rows.length > 0) yield rows;
    if (!cut && rows.length < limit) return;
    last = rows.at(-1) ?? null;
  }
}

/** The same, of rows that are small. */
export const pagesOf = <Row>(
  limit: number,
  read: (last: Row | null) => Promise<readonly Row[]>,
): AsyncGenerator<readonly Row[], undefined> =>
  pagesWithin<Row>(limit, async (last) => ({ rows: await read(last), cut: false }));

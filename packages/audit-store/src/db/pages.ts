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
 * Keyset paging: `read` gives up to `limit` items behind the last one of the page before (null: the first ones), in an
 * order of their own. A page that is not full is the last one; empty ones are left out.
 */
export async function* pagesOf<T>(
  limit: number,
  read: (last: T | null) => Promise<readonly T[]>,
): AsyncGenerator<readonly T[], undefined> {
  for (let last: T | null = null; ; ) {
    const page: readonly T[] = await read(last);
    if (page.length > 0) yield page;
    if (page.length < limit) return;
    last = page.at(-1) ?? null;
  }
}

/** The same, of pages that may have ended early for their size. */
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

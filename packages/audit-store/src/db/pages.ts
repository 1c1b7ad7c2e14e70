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

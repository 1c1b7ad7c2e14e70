import { invalidRequest } from './validation.ts';

/** Opaque: base64url of the id behind which a list goes on. */
export const toCursor = (id: string): string => Buffer.from(id, 'utf8').toString('base64url');

/** Throws `invalid_request` for anything `toCursor` did not make of an id that `fits`. */
export const fromCursor = (cursor: string, fits: (id: string) => boolean): string => {
  const id = Buffer.from(cursor, 'base64url').toString('utf8');
  if (fits(id) && toCursor(id) === cursor) return id;
  throw invalidRequest([
    { path: 'cursor', message: 'not a cursor of this list; use next_cursor as it came' },
  ]);
};

/** Cuts a list that was read one item too long into a page and the cursor of the next. */
export const toPage = <T>(
  items: readonly T[],
  limit: number,
  idOf: (item: T) => string,
): { page: readonly T[]; next_cursor: string | null } => {
  const page = items.slice(0, limit);
  const last = page.at(-1);
  return { page, next_cursor: items.length > limit && last !== undefined ? toCursor(idOf(last)) : null };
};

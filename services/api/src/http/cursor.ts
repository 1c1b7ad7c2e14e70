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

/** The cursor of the next page, from where the store says that it begins; null: there is none. */
export const nextCursor = <Place>(next: Place | null, idOf: (place: Place) => string): string | null =>
  next === null ? null : toCursor(idOf(next));

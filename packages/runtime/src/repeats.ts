import { LRUCache } from 'lru-cache';

/**
 * Warnings that say again what was just said: while a store is away, every loop and request meets the same error, and
 * would write it many times a second. Owns, for each of them, when it was last written and how often it came since.
 */

const AGAIN_MS = 60_000;
/** More kinds of trouble at once than there are. */
const MOST = 500;

interface Told {
  readonly at: number;
  leftOut: number;
}

export class Repeats {
  readonly #told = new LRUCache<string, Told>({ max: MOST });

  /** How often it was left out since it was last written; null: this one is to be left out too. */
  admit(what: string, now: number): number | null {
    // Not `get`: the one that was written longest ago is the one to forget.
    const told = this.#told.peek(what);
    if (told !== undefined && now - told.at < AGAIN_MS) {
      told.leftOut += 1;
      return null;
    }
    this.#told.set(what, { at: now, leftOut: 0 });
    return told?.leftOut ?? 0;
  }
}

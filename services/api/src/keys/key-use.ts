import type { Clock } from '@signalbox/runtime';

/**
 * Whether this use of a key is the first in its hour that this process sees: then it is written down as `key.used`.
 * What it is asked next time is remembered only once that was done.
 */

export interface KeyUse {
  readonly keyId: string;
  /** Of a route that needs scope `admin`. */
  readonly admin: boolean;
}

export interface KeyUses {
  isNew(use: KeyUse): boolean;
  written(use: KeyUse): void;
}

const HOUR_MS = 3_600_000;

const nameOf = ({ keyId, admin }: KeyUse): string => `${keyId} ${admin}`;

export const createKeyUses = (clock: Pick<Clock, 'now'>): KeyUses => {
  let hour = 0;
  let seen = new Set<string>();
  const current = (): Set<string> => {
    const now = Math.floor(clock.now() / HOUR_MS);
    if (now !== hour) {
      hour = now;
      seen = new Set();
    }
    return seen;
  };
  return {
    isNew: (use) => !current().has(nameOf(use)),
    written: (use) => {
      current().add(nameOf(use));
    },
  };
};

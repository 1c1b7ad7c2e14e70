/**
 * Looks for thousands of values in many megabytes in one pass: a window of four bytes goes over the data, and only
 * where some value begins with the same four is it compared.
 */
import { encodingsOf } from './encodings.ts';
import type { Canary } from './canaries.ts';

export interface Find {
  readonly canary: Canary;
  readonly encoding: string;
  /** What it was found in, and what stands around it. */
  readonly where: string;
  readonly around: string;
}

interface Needle {
  readonly canary: Canary;
  readonly encoding: string;
  readonly bytes: Buffer;
}

export interface Search {
  readonly needles: number;
  /** Each value and encoding at most once. */
  in(where: string, data: Buffer | string): Find[];
}

const WINDOW = 4;
const SLOTS = 1 << 20;
/** The constant of Fibonacci hashing spreads similar windows over the slots. */
const slotOf = (window: number): number => Math.imul(window, 0x9e3779b1) >>> 12;
const AROUND = 60;

const printable = (bytes: Buffer): string => bytes.toString('latin1').replaceAll(/[^\x20-\x7e]+/g, '.');

export const createSearch = (canaries: readonly Canary[]): Search => {
  const needles = canaries.flatMap((canary): Needle[] =>
    encodingsOf(canary.core).map((encoded) => ({ canary, ...encoded })),
  );
  const taken = new Uint8Array(SLOTS);
  const byWindow = Map.groupBy(needles, ({ bytes }) => bytes.readUInt32BE(0));
  for (const window of byWindow.keys()) taken[slotOf(window)] = 1;

  const search = (where: string, data: Buffer): Find[] => {
    const found = new Map<Needle, Find>();
    let window = 0;
    for (let end = 1; end <= data.length; end += 1) {
      window = ((window << 8) | (data[end - 1] ?? 0)) >>> 0;
      if (taken[slotOf(window)] === 0 || end < WINDOW) continue;
      const at = end - WINDOW;
      for (const needle of byWindow.get(window) ?? []) {
        const last = at + needle.bytes.length;
        if (found.has(needle) || !data.subarray(at, last).equals(needle.bytes)) continue;
        const around = printable(data.subarray(Math.max(0, at - AROUND), last + AROUND));
        found.set(needle, { canary: needle.canary, encoding: needle.encoding, where, around });
      }
    }
    return [...found.values()];
  };
  return {
    needles: needles.length,
    in: (where, data) => search(where, typeof data === 'string' ? Buffer.from(data) : data),
  };
};

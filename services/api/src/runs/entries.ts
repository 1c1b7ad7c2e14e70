import { type Entry, type EventType, TERMINAL_EVENTS } from '@signalbox/contracts';
import { bodyOf, hashOf } from '@signalbox/engine';

/** Looks at entries we wrote ourselves, without the cost of checking each again. */
interface Peek {
  readonly seq: number;
  readonly type: EventType;
  readonly data: { readonly step?: number };
  readonly refs: { readonly [name: string]: string };
}

export const peek = (entry: Entry): Peek => JSON.parse(bodyOf(entry)) as Peek;

/** An event as JSON text: the very text that was hashed, and its hash behind it. */
export const eventJson = (entry: Entry): string => `${bodyOf(entry).slice(0, -1)},"hash":"${hashOf(entry)}"}`;

export const lastTypeOf = (entries: readonly Entry[]): EventType | undefined => {
  const last = entries.at(-1);
  return last === undefined ? undefined : peek(last).type;
};

/** 0: there is none. */
export const lastSeqOf = (entries: readonly Entry[]): number => {
  const last = entries.at(-1);
  return last === undefined ? 0 : peek(last).seq;
};

/** How many stand at `seq` or before it: fewer than `seq` when one of them is in quarantine. */
export const countUpTo = (entries: readonly Entry[], seq: number): number => {
  let count = Math.min(seq, entries.length);
  while (lastSeqOf(entries.slice(0, count)) > seq) count -= 1;
  return count;
};

export const refsOf = (entry: Entry | undefined): Peek['refs'] =>
  entry === undefined ? {} : peek(entry).refs;

/** True for the terminal events. */
export const isEnd = (type: EventType | undefined): boolean =>
  type !== undefined && TERMINAL_EVENTS.has(type);

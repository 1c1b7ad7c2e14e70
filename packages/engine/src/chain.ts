import { createHash } from 'node:crypto';
import { type Actor, type Entry, Event, type EventDraft, GENESIS } from '@signalbox/contracts';

/**
 * The hash chain of one run (R5): `seq` counts from 1 without gaps, `prev` is the hash of the event
 * before, `hash` is SHA-256 over the exact body text, which holds `prev`.
 */
export interface Head {
  readonly seq: number;
  readonly hash: string;
}

export const EMPTY_HEAD: Head = { seq: 0, hash: GENESIS };

const HASH_LENGTH = 64;

const sha256 = (text: string): string => createHash('sha256').update(text, 'utf8').digest('hex');

export interface AppendContext {
  readonly runId: string;
  readonly epoch: number;
  /** RFC 3339 UTC, from the worker's clock. */
  readonly ts: string;
  /** Who acts, where a draft does not say. */
  readonly actor: Actor;
}

export interface Appended {
  readonly entries: readonly Entry[];
  readonly events: readonly Event[];
  readonly head: Head;
}

/** Gives drafts their place behind `head`. */
export const appendDrafts = (head: Head, drafts: readonly EventDraft[], context: AppendContext): Appended => {
  const entries: Entry[] = [];
  const events: Event[] = [];
  let { seq, hash } = head;
  for (const draft of drafts) {
    const unhashed = {
      run_id: context.runId,
      seq: ++seq,
      epoch: context.epoch,
      type: draft.type,
      ts: context.ts,
      actor: draft.actor ?? context.actor,
      data: draft.data,
      refs: draft.refs ?? {},
      prev: hash,
    };
    const body = JSON.stringify(unhashed);
    hash = sha256(body);
    entries.push(hash + body);
    // A draft pairs type and data, and the spread keeps the pair.
    events.push({ ...unhashed, hash } as Event);
  }
  return { entries, events, head: { seq, hash } };
};

export const hashOf = (entry: Entry): string => entry.slice(0, HASH_LENGTH);
export const bodyOf = (entry: Entry): string => entry.slice(HASH_LENGTH);

/** Parses an entry; throws when it is no event. Does not check the hash: `chainBreak` does. */
export const readEntry = (entry: Entry): Event =>
  Event.parse({ ...JSON.parse(bodyOf(entry)), hash: hashOf(entry) });

/** True when the hash belongs to the body. */
export const isAuthentic = (entry: Entry): boolean => sha256(bodyOf(entry)) === hashOf(entry);

const tryRead = (entry: Entry): Event | null => {
  try {
    return readEntry(entry);
  } catch {
    return null;
  }
};

export interface ChainBreak {
  readonly seq: number;
  readonly why: string;
}

/** The first place where entries, starting behind `head`, are no unbroken chain; null when they are. */
export const chainBreak = (entries: readonly Entry[], head: Head = EMPTY_HEAD): ChainBreak | null => {
  let { seq, hash } = head;
  let runId: string | null = null;
  for (const entry of entries) {
    seq += 1;
    if (!isAuthentic(entry)) return { seq, why: 'the hash does not match the body' };
    const event = tryRead(entry);
    if (event === null) return { seq, why: 'the body is no event' };
    runId ??= event.run_id;
    if (event.run_id !== runId) return { seq, why: `an event of ${event.run_id} among those of ${runId}` };
    if (event.seq !== seq) return { seq, why: `expected seq ${seq}, found ${event.seq}` };
    if (event.prev !== hash) return { seq, why: 'prev is not the hash of the event before' };
    hash = event.hash;
  }
  return null;
};

import { hash as hashOnce } from 'node:crypto';
import {
  type Actor,
  AdminEvent,
  adminChainOf,
  type AdminEventDraft,
  type Entry,
  Event,
  type EventDraft,
  GENESIS,
} from '@signalbox/contracts';

/**
 * The hash chain of one run, or of the administration of one tenant (R5): `seq` counts from 1 without gaps, `prev` is
 * the hash of the event before, `hash` is SHA-256 over the exact body text, which holds `prev`.
 */
export interface Head {
  readonly seq: number;
  readonly hash: string;
}

export const EMPTY_HEAD: Head = { seq: 0, hash: GENESIS };

const HASH_LENGTH = 64;

const sha256 = (text: string): string => hashOnce('sha256', text, 'hex');

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

/** Makes drafts the next events behind `head`. */
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

/** The same for administration events of one tenant. */
export const appendAdminDrafts = (
  head: Head,
  drafts: readonly AdminEventDraft[],
): { readonly entries: readonly Entry[]; readonly head: Head } => {
  const entries: Entry[] = [];
  let { seq, hash } = head;
  for (const { event_id, tenant_id, type, ts, actor, data } of drafts) {
    seq += 1;
    const body = JSON.stringify({
      run_id: adminChainOf(tenant_id),
      seq,
      epoch: 0,
      event_id,
      tenant_id,
      type,
      ts,
      actor,
      data,
      refs: {},
      prev: hash,
    });
    hash = sha256(body);
    entries.push(hash + body);
  }
  return { entries, head: { seq, hash } };
};

export const hashOf = (entry: Entry): string => entry.slice(0, HASH_LENGTH);
export const bodyOf = (entry: Entry): string => entry.slice(HASH_LENGTH);

/** Parses an entry; throws when it is no event. Does not check the hash: `readChain` does. */
export const readEntry = (entry: Entry): Event =>
  Event.parse({ ...JSON.parse(bodyOf(entry)), hash: hashOf(entry) });

/** Whether the hash belongs to the body: it tells of damage, not of who wrote it. */
export const hashMatches = (entry: Entry): boolean => sha256(bodyOf(entry)) === hashOf(entry);

/** Parses an entry of an administration chain. */
export const readAdminEntry = (entry: Entry): AdminEvent =>
  AdminEvent.parse({ ...JSON.parse(bodyOf(entry)), hash: hashOf(entry) });

const ADMIN_BODY = '{"run_id":"admin_';

type Read<E> = (entry: Entry) => E;

const readAny: Read<Event | AdminEvent> = (entry) =>
  bodyOf(entry).startsWith(ADMIN_BODY) ? readAdminEntry(entry) : readEntry(entry);

const tryRead = <E>(read: Read<E>, entry: Entry): E | null => {
  try {
    return read(entry);
  } catch {
    return null;
  }
};

export interface ChainBreak {
  readonly seq: number;
  readonly why: string;
}

/** The end of the chain that the next entry must continue. */
interface ChainEnd extends Head {
  /** Null: the chain of whatever run it is. */
  readonly runId: string | null;
}

/** The next event of a chain, or why the entry is not that. */
const readLink = <E extends Event | AdminEvent>(read: Read<E>, end: ChainEnd, entry: Entry): E | string => {
  if (!hashMatches(entry)) return 'the hash does not match the body';
  const event = tryRead(read, entry);
  if (event === null) return 'the body is no event';
  const { runId, seq, hash } = end;
  if (runId !== null && event.run_id !== runId) return `an event of ${event.run_id} among those of ${runId}`;
  if (event.seq !== seq + 1) return `expected seq ${seq + 1}, found ${event.seq}`;
  return event.prev === hash ? event : 'prev is not the hash of the event before';
};

/** Why an entry is not the next one of the chain behind `head`; null when it is. */
export const linkBreak = (runId: string, head: Head, entry: Entry): string | null => {
  const link = readLink(readAny, { runId, ...head }, entry);
  return typeof link === 'string' ? link : null;
};

/** The events of a chain up to where it is broken, each parsed once. */
interface ReadChain<E> {
  readonly events: readonly E[];
  readonly broken: ChainBreak | null;
}

const readLinks = <E extends Event | AdminEvent>(
  read: Read<E>,
  head: Head,
  entries: readonly Entry[],
): ReadChain<E> => {
  const events: E[] = [];
  let end: ChainEnd = { runId: null, ...head };
  for (const entry of entries) {
    const event = readLink(read, end, entry);
    if (typeof event === 'string') return { events, broken: { seq: end.seq + 1, why: event } };
    events.push(event);
    end = { runId: event.run_id, seq: event.seq, hash: event.hash };
  }
  return { events, broken: null };
};

/** A run's whole journal. */
export const readChain = (entries: readonly Entry[]): ReadChain<Event> =>
  readLinks(readEntry, EMPTY_HEAD, entries);

/** Where entries, starting behind `head`, first break the chain; null where none does. */
export const chainBreak = (entries: readonly Entry[], head: Head = EMPTY_HEAD): ChainBreak | null =>
  readLinks(readAny, head, entries).broken;

import { type Category, categoryOf, type Entry } from '@signalbox/contracts';
import { bodyOf, hashOf } from '@signalbox/engine';
import { sql } from 'kysely';
import { bigintArray, textArray } from '../db/array-param.ts';
import { storableCopy, toJsonParam } from '../db/json-param.ts';
import type { Db } from '../db/pool.ts';
import type { GoodEntry } from './judge.ts';
import { eventIdOf, isBeyond, type KnownRuns, type Position } from './run-heads.ts';

export interface InsertedEvents {
  /** The entries that were not stored before: the only ones projections may count (R5). */
  readonly fresh: readonly GoodEntry[];
  readonly duplicates: number;
  /** Entries whose position is taken by another hash. */
  readonly forks: readonly GoodEntry[];
  /** Entries whose position is taken by a stub with their hash: the store has their text nowhere. */
  readonly late: readonly GoodEntry[];
}

interface StoredHash extends Position {
  readonly hash: string;
  readonly is_stub: boolean;
}

/** An event with its position, as it is inserted; the other columns are read from its body. */
export interface NewRow extends Position {
  readonly event_id: string;
  readonly tenant_id: string;
  readonly category: Category;
  readonly entry: Entry;
}

const rowOf = ({ record, entry, event }: GoodEntry): NewRow => ({
  run_id: event.run_id,
  seq: event.seq,
  event_id: eventIdOf(event),
  tenant_id: record.tenantId,
  category: categoryOf(event.type),
  entry,
});

/** The texts that jsonb takes in place of bodies that it refuses; null for each that it takes. */
const copiesOf = (bodies: readonly string[]): readonly (string | null)[] => bodies.map(storableCopy);

const insertion = (events: readonly NewRow[]) => {
  const bodies = events.map(({ entry }) => bodyOf(entry));
  const texts = (of: (event: NewRow) => string): Buffer => textArray(events.map(of));
  // `offset 0` keeps the planner from parsing the body once per column.
  return sql`
    insert into audit_events
      (run_id, seq, event_id, tenant_id, epoch, type, category, ts, actor, data, refs, prev, hash, body)
    select x.run_id, x.seq::int, x.event_id, x.tenant_id, (e.event ->> 'epoch')::bigint, e.event ->> 'type',
      x.category, (e.event ->> 'ts')::timestamptz, e.event -> 'actor', e.event -> 'data', e.event -> 'refs',
      e.event ->> 'prev', x.hash, x.body
    from unnest(
      ${texts(({ run_id }) => run_id)}::text[], ${bigintArray(events.map(({ seq }) => seq))}::bigint[],
      ${texts(({ event_id }) => event_id)}::text[], ${texts(({ tenant_id }) => tenant_id)}::text[],
      ${texts(({ category }) => category)}::text[], ${texts(({ entry }) => hashOf(entry))}::text[],
      ${textArray(bodies)}::text[], ${textArray(copiesOf(bodies))}::text[]
    ) as x (run_id, seq, event_id, tenant_id, category, hash, body, copy)
    cross join lateral (select coalesce(x.copy, x.body)::jsonb as event offset 0) e`;
};

/** Positions that are known to be free. Without a conflict to look for, Postgres writes each row once. */
export const insertFree = async (db: Db, events: readonly NewRow[]): Promise<void> => {
  if (events.length > 0) await insertion(events).execute(db);
};

/** Answers the positions that were free. */
const insertIfFree = async (db: Db, events: readonly NewRow[]): Promise<ReadonlySet<string>> => {
  if (events.length === 0) return new Set();
  const { rows } = await sql<Position>`
    ${insertion(events)} on conflict (run_id, seq) do nothing returning run_id, seq`.execute(db);
  return new Set(rows.map(eventIdOf));
};

/** What is stored at the positions of these entries. */
export const storedHashes = async (
  db: Db,
  entries: readonly GoodEntry[],
): Promise<ReadonlyMap<string, StoredHash>> => {
  if (entries.length === 0) return new Map();
  const positions = entries.map(({ event }) => ({ run_id: event.run_id, seq: event.seq }));
  const { rows } = await sql<StoredHash>`
    select a.run_id, a.seq, a.hash, a.body is null as is_stub
    from json_to_recordset(${toJsonParam(positions)}::json) as x (run_id text, seq int)
    join audit_events a on a.run_id = x.run_id collate "C" and a.seq = x.seq`.execute(db);
  return new Map(rows.map((row) => [eventIdOf(row), row]));
};

/** Stores events that are not there yet, and tells a redelivery from a fork. */
export const insertEvents = async (
  db: Db,
  entries: readonly GoodEntry[],
  known: KnownRuns,
): Promise<InsertedEvents> => {
  const firsts = new Map<string, GoodEntry>();
  const again: GoodEntry[] = [];
  for (const entry of entries) {
    const eventId = eventIdOf(entry.event);
    if (!isBeyond(known.heads, entry.event) || firsts.has(eventId)) again.push(entry);
    else firsts.set(eventId, entry);
  }
  const isFree = ({ event }: GoodEntry): boolean => !known.ragged.has(event.run_id);
  const free = [...firsts.values()].filter(isFree);
  await insertFree(db, free.map(rowOf));
  const doubtful = [...firsts].filter(([, entry]) => !isFree(entry));
  const inserted = await insertIfFree(
    db,
    doubtful.map(([, entry]) => rowOf(entry)),
  );
  const fresh = [...free];
  for (const [eventId, entry] of doubtful) (inserted.has(eventId) ? fresh : again).push(entry);
  const stored = await storedHashes(db, again);
  const forks: GoodEntry[] = [];
  const late: GoodEntry[] = [];
  for (const entry of again) {
    const row = stored.get(eventIdOf(entry.event));
    if (row !== undefined && row.hash !== entry.event.hash) forks.push(entry);
    else if (row?.is_stub === true) late.push(entry);
  }
  return { fresh, duplicates: again.length - forks.length - late.length, forks, late };
};

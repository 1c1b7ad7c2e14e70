import { categoryOf } from '@signalbox/contracts';
import { bodyOf } from '@signalbox/engine';
import { sql } from 'kysely';
import { storableCopy, toJsonParam } from '../json-param.ts';
import type { Db } from '../pool.ts';
import type { GoodEntry } from './judge.ts';

export interface InsertedEvents {
  /** The entries that were not stored before: the only ones projections may count (R8). */
  readonly fresh: readonly GoodEntry[];
  readonly duplicates: number;
  /** Entries whose place is taken by another hash. */
  readonly forks: readonly GoodEntry[];
}

interface Place {
  readonly run_id: string;
  readonly seq: number;
}

const placeOf = ({ run_id, seq }: Place): string => `${run_id}.${seq}`;

const insert = async (db: Db, entries: readonly GoodEntry[]): Promise<ReadonlySet<string>> => {
  const rows = entries.map(({ record, entry, event }) => {
    const body = bodyOf(entry);
    return {
      run_id: event.run_id,
      seq: event.seq,
      tenant_id: record.tenantId,
      category: categoryOf(event.type),
      hash: event.hash,
      body,
      copy: storableCopy(body),
    };
  });
  // `offset 0` keeps the planner from parsing the body once per column.
  const { rows: inserted } = await sql<Place>`
    insert into audit_events
      (run_id, seq, event_id, tenant_id, epoch, type, category, ts, actor, data, refs, prev, hash, body)
    select x.run_id, x.seq, x.run_id || '.' || x.seq, x.tenant_id, (e.event ->> 'epoch')::bigint, e.event ->> 'type',
      x.category, (e.event ->> 'ts')::timestamptz, e.event -> 'actor', e.event -> 'data', e.event -> 'refs',
      e.event ->> 'prev', x.hash, x.body
    from json_to_recordset(${toJsonParam(rows)}::json)
      as x (run_id text, seq int, tenant_id text, category text, hash text, body text, copy text)
    cross join lateral (select coalesce(x.copy, x.body)::jsonb as event offset 0) e
    on conflict (run_id, seq) do nothing
    returning run_id, seq`.execute(db);
  return new Set(inserted.map(placeOf));
};

const storedHashes = async (db: Db, entries: readonly GoodEntry[]): Promise<ReadonlyMap<string, string>> => {
  if (entries.length === 0) return new Map();
  const places = entries.map(({ event }) => ({ run_id: event.run_id, seq: event.seq }));
  const { rows } = await sql<Place & { hash: string }>`
    select a.run_id, a.seq, a.hash
    from json_to_recordset(${toJsonParam(places)}::json) as x (run_id text, seq int)
    join audit_events a on a.run_id = x.run_id collate "C" and a.seq = x.seq`.execute(db);
  return new Map(rows.map((row) => [placeOf(row), row.hash]));
};

/** Stores events that are not there yet, and tells a redelivery from a fork. */
export const insertEvents = async (db: Db, entries: readonly GoodEntry[]): Promise<InsertedEvents> => {
  if (entries.length === 0) return { fresh: [], duplicates: 0, forks: [] };
  const firsts = new Map<string, GoodEntry>();
  const again: GoodEntry[] = [];
  for (const entry of entries) {
    const place = placeOf(entry.event);
    if (firsts.has(place)) again.push(entry);
    else firsts.set(place, entry);
  }
  const inserted = await insert(db, [...firsts.values()]);
  const fresh: GoodEntry[] = [];
  for (const [place, entry] of firsts) (inserted.has(place) ? fresh : again).push(entry);
  const stored = await storedHashes(db, again);
  const forks = again.filter(({ event }) => stored.get(placeOf(event)) !== event.hash);
  return { fresh, duplicates: again.length - forks.length, forks };
};

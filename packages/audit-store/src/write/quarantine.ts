import { createHash } from 'node:crypto';
import { type AuditRecord, categoryOf } from '@signalbox/contracts';
import { bodyOf } from '@signalbox/engine';
import { sql } from 'kysely';
import { toJsonParam } from '../db/json-param.ts';
import type { Db } from '../db/pool.ts';
import { type BadEntry, claimedHash, type GoodEntry } from './judge.ts';
import { eventIdOf, isBeyond, type Position, type StoredHead } from './run-heads.ts';

/** `refused`: a whole record that Postgres would not take. */
export type QuarantineReason = BadEntry['reason'] | 'refused';

export interface Quarantined {
  readonly id: string;
  readonly streamId: string;
  readonly runId: string;
  readonly seq: number | null;
  readonly reason: QuarantineReason;
  readonly detail: string;
}

interface Item extends Quarantined {
  readonly raw: string;
}

const itemOf = (record: AuditRecord, raw: string, rest: Pick<Item, 'seq' | 'reason' | 'detail'>): Item => {
  const id = createHash('sha256').update(`${record.runId}\n${raw}`, 'utf8').digest('hex');
  return { id, streamId: record.streamId, runId: record.runId, raw, ...rest };
};

export const entryItem = ({ record, entry, seq, reason, detail }: BadEntry): Item =>
  itemOf(record, entry, { seq, reason, detail });

export const recordItem = (record: AuditRecord, detail: string): Item =>
  itemOf(record, JSON.stringify(record), { seq: null, reason: 'refused', detail });

/** Keeps the exact bytes. The same bytes of the same run are kept once. */
export const insertQuarantine = async (db: Db, items: readonly Item[]): Promise<Quarantined[]> => {
  if (items.length === 0) return [];
  const rows = items.map(({ raw, ...item }) => ({
    ...item,
    raw: Buffer.from(raw, 'utf8').toString('base64'),
  }));
  await sql`
    insert into audit_quarantine (id, stream_id, run_id, seq, reason, detail, raw)
    select id, "streamId", "runId", seq, reason, detail, decode(raw, 'base64')
    from json_to_recordset(${toJsonParam(rows)}::json)
      as x (id text, "streamId" text, "runId" text, seq int, reason text, detail text, raw text)
    on conflict (id) do nothing`.execute(db);
  return items.map(({ raw: _, ...quarantined }) => quarantined);
};

/** A row that keeps an event's position and hash, so that the chain stays checkable. */
export interface Stub {
  readonly run_id: string;
  readonly seq: number;
  readonly tenant_id: string;
  readonly epoch: number | null;
  readonly type: string;
  readonly category: string;
  readonly ts: string | null;
  readonly refs: Readonly<Record<string, string>>;
  readonly prev: string | null;
  readonly hash: string;
  readonly body: string | null;
  readonly quarantine_id: string;
}

/** For an entry that cannot be trusted: position and claimed hash, nothing of its text. Null if they are unknown. */
export const bareStub = (bad: BadEntry): Stub | null => {
  const hash = claimedHash(bad.entry);
  if (hash === null || bad.seq === null) return null;
  return {
    run_id: bad.record.runId,
    seq: bad.seq,
    tenant_id: bad.record.tenantId,
    epoch: null,
    type: 'audit.quarantined',
    category: 'admin',
    ts: null,
    refs: {},
    prev: null,
    hash,
    body: null,
    quarantine_id: entryItem(bad).id,
  };
};

/** For an authentic event of a refused record: it keeps its exact text, only its columns are spared. */
export const fullStub = ({ record, entry, event }: GoodEntry, quarantineId: string): Stub => {
  const time = new Date(event.ts);
  return {
    run_id: event.run_id,
    seq: event.seq,
    tenant_id: record.tenantId,
    epoch: event.epoch,
    type: event.type,
    category: categoryOf(event.type),
    ts: Number.isNaN(time.getTime()) ? null : time.toISOString(),
    refs: event.refs,
    prev: event.prev,
    hash: event.hash,
    body: bodyOf(entry),
    quarantine_id: quarantineId,
  };
};

/** Answers the positions that were still free. */
export const insertStubs = async (
  db: Db,
  all: readonly Stub[],
  known: ReadonlyMap<string, StoredHead>,
): Promise<ReadonlySet<string>> => {
  const stubs = all.filter((stub) => isBeyond(known, stub));
  if (stubs.length === 0) return new Set();
  const { rows } = await sql<Position>`
    insert into audit_events (run_id, seq, event_id, tenant_id, epoch, type, category, ts, data, refs, prev, hash, body)
    select run_id, seq, run_id || '.' || seq, tenant_id, epoch, type, category, coalesce(ts, now()),
      jsonb_build_object('quarantine_id', quarantine_id), refs, prev, hash, body
    from json_to_recordset(${toJsonParam(stubs)}::json) as x (
      run_id text, seq int, tenant_id text, epoch bigint, type text, category text, ts timestamptz, refs jsonb,
      prev text, hash text, body text, quarantine_id text)
    on conflict (run_id, seq) do nothing
    returning run_id, seq`.execute(db);
  return new Set(rows.map(eventIdOf));
};

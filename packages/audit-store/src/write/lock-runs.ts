import type { AuditRecord } from '@signalbox/contracts';
import { sql } from 'kysely';
import { bigintArray, textArray } from '../db/array-param.ts';
import { toJsonParam } from '../db/json-param.ts';
import type { Db } from '../db/pool.ts';
import { type HeadRow, headsOf, type KnownRuns, type StoredHead } from './run-heads.ts';

const RUN_ID = /^run_([0-9a-f]{12})7[0-9a-f]{19}$/;

/** When a run was made, as its id says; run.submitted puts it right. */
const timeOf = (runId: string): string | null => {
  const [, millis] = RUN_ID.exec(runId) ?? [];
  const date = new Date(millis === undefined ? Number.NaN : Number.parseInt(millis, 16));
  return Number.isNaN(date.getTime()) || date.getUTCFullYear() > 9999 ? null : date.toISOString();
};

/** Under the lock, and in a statement of its own: one that waited for the lock sees nothing of what it waited for. */
const raggedOf = async (db: Db, known: ReadonlyMap<string, StoredHead>): Promise<ReadonlySet<string>> => {
  const { rows } = await sql<{ id: string }>`
    select x.id from unnest(
      ${textArray([...known.keys()])}::text[], ${bigintArray(Array.from(known.values(), ({ seq }) => seq))}::bigint[]
    ) as x (id, seq)
    cross join lateral (
      select from audit_events e where e.run_id = x.id collate "C" and e.seq > x.seq limit 1
    ) beyond`.execute(db);
  return new Set(rows.map(({ id }) => id));
};

/**
 * Makes a row for each run that has none, and locks them all until the transaction ends: two writers
 * that share a run (a redelivery beside a slow first delivery) take turns. Answers the heads so far.
 */
export const lockRuns = async (db: Db, records: readonly AuditRecord[]): Promise<KnownRuns> => {
  if (records.length === 0) return { heads: new Map(), ragged: new Set() };
  const byId = new Map(records.map((record) => [record.runId, record]));
  const rows = [...byId.values()].map((record) => ({
    id: record.runId,
    tenant_id: record.tenantId,
    user_id: record.userId,
    agent: record.agent,
    root_run_id: record.rootRunId,
    created_at: timeOf(record.runId),
  }));
  await sql`
    insert into runs (id, tenant_id, user_id, agent, root_run_id, created_at)
    select id, tenant_id, user_id, agent, root_run_id, coalesce(created_at, now())
    from json_to_recordset(${toJsonParam(rows)}::json)
      as x (id text, tenant_id text, user_id text, agent text, root_run_id text, created_at timestamptz)
    order by id collate "C"
    on conflict (id) do nothing`.execute(db);
  // Locked in one order everywhere, so two writers cannot wait for each other.
  const locked = await sql<HeadRow>`
    select id, last_seq, status, status_seq from runs
    where id in (select id from json_to_recordset(${toJsonParam(rows)}::json) as x (id text))
    order by id for update`.execute(db);
  const known = headsOf(locked.rows);
  return { heads: known, ragged: await raggedOf(db, known) };
};

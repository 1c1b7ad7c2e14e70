import { type AuditRecord, isTerminal, type RunStatus } from '@signalbox/contracts';
import { sql } from 'kysely';
import { toJsonParam } from '../json-param.ts';
import type { Db } from '../pool.ts';
import type { RunChange } from './run-changes.ts';

/** How far a run is stored without a gap, and whether that is its end. */
export interface StoredHead {
  readonly seq: number;
  readonly terminal: boolean;
}

interface HeadRow {
  readonly id: string;
  readonly last_seq: number;
  readonly status: RunStatus;
  readonly status_seq: number;
}

const heads = (rows: readonly HeadRow[]): Map<string, StoredHead> =>
  new Map(
    rows.map(({ id, last_seq, status, status_seq }) => [
      id,
      { seq: last_seq, terminal: isTerminal(status) && status_seq <= last_seq },
    ]),
  );

const RUN_ID = /^run_([0-9a-f]{12})7[0-9a-f]{19}$/;

/** When a run was made, as its id says; run.submitted puts it right. */
const timeOf = (runId: string): string | null => {
  const [, millis] = RUN_ID.exec(runId) ?? [];
  const date = new Date(millis === undefined ? Number.NaN : Number.parseInt(millis, 16));
  return Number.isNaN(date.getTime()) || date.getUTCFullYear() > 9999 ? null : date.toISOString();
};

/**
 * Makes a row for each run that has none, and locks them all until the transaction ends: two writers
 * that share a run (a redelivery beside a slow first delivery) take turns. Answers the heads so far.
 */
export const lockRuns = async (db: Db, records: readonly AuditRecord[]): Promise<Map<string, StoredHead>> => {
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
  return heads(locked.rows);
};

/** Columns that only run.submitted sets. */
const identity = (submitted: NonNullable<RunChange['submitted']>) => ({
  agent: submitted.agent.name,
  agent_version: submitted.agent.version,
  user_id: submitted.user_id,
  session_id: submitted.session_id,
  parent_run_id: submitted.parent_run_id,
  forked_from: submitted.forked_from,
  model: submitted.model,
  priority: submitted.priority,
  cap_nano: submitted.cap_nano,
  created_at: submitted.created_at,
});

const flat = ({ submitted, ...change }: RunChange, observedNano: number) => ({
  ...change,
  observed_nano: observedNano,
  submitted: submitted !== null,
  ...(submitted === null ? {} : identity(submitted)),
});

/** Applies changes to locked runs and moves `last_seq` to the last event without a gap before it (R5). */
export const applyRunChanges = async (
  db: Db,
  changes: readonly RunChange[],
  observedNano: ReadonlyMap<string, number>,
): Promise<Map<string, StoredHead>> => {
  if (changes.length === 0) return new Map();
  const rows = changes.map((change) => flat(change, observedNano.get(change.id) ?? 0));
  const { rows: updated } = await sql<HeadRow>`
    update runs r set
      agent = case when x.submitted then x.agent else r.agent end,
      agent_version = case when x.submitted then x.agent_version else r.agent_version end,
      user_id = case when x.submitted then x.user_id else r.user_id end,
      session_id = case when x.submitted then x.session_id else r.session_id end,
      parent_run_id = case when x.submitted then x.parent_run_id else r.parent_run_id end,
      forked_from = case when x.submitted then x.forked_from else r.forked_from end,
      model = case when x.submitted then x.model else r.model end,
      priority = case when x.submitted then x.priority else r.priority end,
      cap_nano = case when x.submitted then x.cap_nano else r.cap_nano end,
      created_at = case when x.submitted then x.created_at else r.created_at end,
      status = case when x.status_seq > r.status_seq then x.status else r.status end,
      waiting_for = case when x.status_seq > r.status_seq then x.waiting_for else r.waiting_for end,
      error_code = case when x.status_seq > r.status_seq then x.error_code else r.error_code end,
      finished_at = case when x.status_seq > r.status_seq then x.finished_at else r.finished_at end,
      status_seq = greatest(x.status_seq, r.status_seq),
      started_at = case when x.started_seq < coalesce(r.started_seq, x.started_seq + 1) then x.started_at else r.started_at end,
      started_seq = least(x.started_seq, r.started_seq),
      cost_observed_nano = r.cost_observed_nano + x.observed_nano,
      estimated = r.estimated or x.estimated,
      input_tokens = r.input_tokens + x.input_tokens,
      output_tokens = r.output_tokens + x.output_tokens,
      cache_read_tokens = r.cache_read_tokens + x.cache_read_tokens,
      cache_write_tokens = r.cache_write_tokens + x.cache_write_tokens,
      steps = greatest(r.steps, x.steps),
      epoch = greatest(r.epoch, x.epoch),
      last_seq = coalesce((
        select max(beyond.seq)
        from (
          select e.seq, e.seq - row_number() over (order by e.seq) as gap
          from audit_events e where e.run_id = r.id and e.seq > r.last_seq
        ) beyond
        where beyond.gap = r.last_seq
      ), r.last_seq)
    from json_to_recordset(${toJsonParam(rows)}::json) as x (
      id text, submitted boolean, agent text, agent_version int, user_id text, session_id text, parent_run_id text,
      forked_from text, model text, priority text, cap_nano bigint, created_at timestamptz, status text,
      waiting_for text, error_code text, finished_at timestamptz, status_seq int, started_at timestamptz,
      started_seq int, observed_nano bigint, estimated boolean, input_tokens bigint, output_tokens bigint,
      cache_read_tokens bigint, cache_write_tokens bigint, steps int, epoch bigint)
    where r.id = x.id collate "C"
    returning r.id, r.last_seq, r.status, r.status_seq`.execute(db);
  return heads(updated);
};

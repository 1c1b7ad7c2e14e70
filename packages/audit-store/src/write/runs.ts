import { type AuditRecord, isTerminal, type RunStatus } from '@signalbox/contracts';
import { sql } from 'kysely';
import { bigintArray, textArray } from '../array-param.ts';
import { toJsonParam } from '../json-param.ts';
import type { Db } from '../pool.ts';
import { markDue } from './checkpoint-due.ts';
import type { RunChange } from './run-changes.ts';

/** How far a run is stored without a gap, and whether that is its end. */
export interface StoredHead {
  readonly seq: number;
  readonly terminal: boolean;
}

/** A place of a run. */
export interface Place {
  readonly run_id: string;
  readonly seq: number;
}

export const placeOf = ({ run_id, seq }: Place): string => `${run_id}.${seq}`;

/**
 * Whether a place may still be free. Up to its head a run is stored, wherever the rows are now: those of an old
 * run left with their partition, and a redelivery must not count them again.
 */
export const isBeyond = (known: ReadonlyMap<string, StoredHead>, { run_id, seq }: Place): boolean =>
  seq > (known.get(run_id)?.seq ?? 0);

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

/** Runs that are locked until the transaction ends. */
export interface KnownRuns {
  readonly heads: ReadonlyMap<string, StoredHead>;
  /** Those of which something is stored behind a gap; of the others every place beyond the head is free. */
  readonly ragged: ReadonlySet<string>;
}

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
  const known = heads(locked.rows);
  return { heads: known, ragged: await raggedOf(db, known) };
};

/**
 * Up to where runs are stored without a gap when these places are filled too. Not of ragged ones: there Postgres must
 * look what they join.
 */
export const endsAfter = (
  { heads: known, ragged }: KnownRuns,
  filled: readonly Place[],
): ReadonlyMap<string, number> => {
  const ends = new Map<string, number>();
  for (const [id, places] of Map.groupBy(filled, ({ run_id }) => run_id)) {
    if (ragged.has(id)) continue;
    let end = known.get(id)?.seq ?? 0;
    for (const { seq } of places.toSorted((a, b) => a.seq - b.seq)) if (seq === end + 1) end = seq;
    ends.set(id, end);
  }
  return ends;
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
  idempotency_key_digest: submitted.idempotency?.key_digest ?? null,
  idempotency_fingerprint: submitted.idempotency?.fingerprint ?? null,
});

const flat = ({ submitted, ...change }: RunChange, observedNano: number) => ({
  ...change,
  observed_nano: observedNano,
  submitted: submitted !== null,
  ...(submitted === null ? {} : identity(submitted)),
});

/** What is known of the changed runs beside their events. */
interface Beside {
  /** By run id: what its observed cost grows by. */
  readonly observedNano: ReadonlyMap<string, number>;
  /** By run id, where that is known: up to where it is stored without a gap now. */
  readonly ends: ReadonlyMap<string, number>;
}

/** Applies changes to locked runs and moves `last_seq` to the last event without a gap before it (R5). */
export const applyRunChanges = async (
  db: Db,
  changes: readonly RunChange[],
  { observedNano, ends }: Beside,
): Promise<Map<string, StoredHead>> => {
  if (changes.length === 0) return new Map();
  const rows = changes.map((change) => ({
    ...flat(change, observedNano.get(change.id) ?? 0),
    last_seq: ends.get(change.id) ?? null,
  }));
  const { rows: updated } = await sql<HeadRow>`
    with changed as (update runs r set
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
      idempotency_key_digest = case when x.submitted then x.idempotency_key_digest else r.idempotency_key_digest end,
      idempotency_fingerprint = case when x.submitted then x.idempotency_fingerprint else r.idempotency_fingerprint end,
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
      last_seq = coalesce(x.last_seq, (
        select max(beyond.seq)
        from (
          select e.seq, e.seq - row_number() over (order by e.seq) as gap
          from audit_events e where e.run_id = r.id and e.seq > r.last_seq
        ) beyond
        where beyond.gap = r.last_seq
      ), r.last_seq)
    from json_to_recordset(${toJsonParam(rows)}::json) as x (
      id text, submitted boolean, agent text, agent_version int, user_id text, session_id text, parent_run_id text,
      forked_from text, model text, priority text, cap_nano bigint, created_at timestamptz,
      idempotency_key_digest text, idempotency_fingerprint text, status text, waiting_for text, error_code text, finished_at timestamptz, status_seq int, started_at timestamptz,
      started_seq int, observed_nano bigint, estimated boolean, input_tokens bigint, output_tokens bigint,
      cache_read_tokens bigint, cache_write_tokens bigint, steps int, epoch bigint, last_seq int)
    where r.id = x.id collate "C"
    returning r.id, r.tenant_id, r.last_seq, r.status, r.status_seq),
    due as (${markDue(sql`(select tenant_id, id as run_id, last_seq as seq from changed)`)})
    select id, last_seq, status, status_seq from changed`.execute(db);
  return heads(updated);
};

import { type RawBuilder, sql } from 'kysely';
import { toJsonParam } from '../db/json-param.ts';
import type { Db } from '../db/pool.ts';
import { markDue } from './checkpoint-due.ts';
import type { RunChange } from './run-changes.ts';
import { type HeadRow, headsOf, type StoredHead } from './run-heads.ts';

/** Columns that only run.submitted sets. */
const IDENTITY = [
  'agent',
  'agent_version',
  'user_id',
  'session_id',
  'parent_run_id',
  'forked_from',
  'model',
  'priority',
  'cap_nano',
  'created_at',
  'idempotency_key_digest',
  'idempotency_fingerprint',
] as const;

export const identity = (
  submitted: NonNullable<RunChange['submitted']>,
): Record<(typeof IDENTITY)[number], string | number | null> => ({
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

/** A change as Postgres reads it from JSON. */
const CHANGE = sql`x (
  id text, submitted boolean, agent text, agent_version int, user_id text, session_id text, parent_run_id text,
  forked_from text, model text, priority text, cap_nano bigint, created_at timestamptz, idempotency_key_digest text,
  idempotency_fingerprint text, status text, waiting_for text, error_code text, finished_at timestamptz,
  status_seq int, started_at timestamptz, started_seq int, observed_nano bigint, estimated boolean,
  input_tokens bigint, output_tokens bigint, cache_read_tokens bigint, cache_write_tokens bigint, steps int,
  epoch bigint, last_seq int)`;

/** Columns that follow the newest status. */
const STATUS = ['status', 'waiting_for', 'error_code', 'finished_at'] as const;

/** Of a row `r` and its change `x`: these columns are the change's where the condition holds. */
const takenIf = (condition: RawBuilder<unknown>, columns: readonly string[]): RawBuilder<unknown> =>
  sql.join(
    columns.map((column) => {
      const [changed, before] = [sql.ref(`x.${column}`), sql.ref(`r.${column}`)];
      return sql`${sql.id(column)} = case when ${condition} then ${changed} else ${before} end`;
    }),
  );

/** The last event of run `r` without a gap before it; null when its head did not move. */
const lastBeforeGap = sql`
  select max(beyond.seq)
  from (
    select e.seq, e.seq - row_number() over (order by e.seq) as gap
    from audit_events e where e.run_id = r.id and e.seq > r.last_seq
  ) beyond
  where beyond.gap = r.last_seq`;

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
      ${takenIf(sql`x.submitted`, IDENTITY)},
      ${takenIf(sql`x.status_seq > r.status_seq`, STATUS)},
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
      last_seq = coalesce(x.last_seq, (${lastBeforeGap}), r.last_seq)
    from json_to_recordset(${toJsonParam(rows)}::json) as ${CHANGE}
    where r.id = x.id collate "C"
    returning r.id, r.tenant_id, r.last_seq, r.status, r.status_seq),
    due as (${markDue(sql`(select tenant_id, id as run_id, last_seq as seq from changed)`)})
    select id, last_seq, status, status_seq from changed`.execute(db);
  return headsOf(updated);
};

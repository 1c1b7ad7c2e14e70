import type { Comparison, Json, ReplayFilter, ReplayMode, ReplayStatus } from '@signalbox/contracts';
import type { ColumnType, Generated, RawBuilder } from 'kysely';

/** The tables of replay jobs as kysely sees them, and what their jsonb holds. */

type NullableTimestamp = ColumnType<Date | null, Date | null | undefined, Date | null>;
/** jsonb that we alone write: it is read as what it was written. */
type OwnJson<T> = ColumnType<T, RawBuilder<unknown>, never>;

export interface ReplayDivergence {
  readonly run_id: string;
  readonly step: number;
  readonly kind: string;
  readonly expected: Json;
  readonly got: Json;
}

export interface ReplayFailure {
  readonly run_id: string;
  /** Of the error catalogue. */
  readonly code: string;
}

export interface ReplaysTable {
  id: string;
  tenant_id: string;
  created_by: string;
  status: Generated<ReplayStatus>;
  filter: OwnJson<ReplayFilter>;
  compare: Comparison;
  mode: ReplayMode;
  changed: OwnJson<readonly string[]>;
  sealed_changes: string | null;
  budget_nano: number | null;
  key_digest: string | null;
  fingerprint: string | null;
  cursor: string | null;
  selected: Generated<number>;
  identical: Generated<number>;
  diverged: Generated<number>;
  failed: Generated<number>;
  not_forked: Generated<number>;
  steps: Generated<number>;
  busy_ms: Generated<number>;
  divergences: ColumnType<readonly ReplayDivergence[], never, never>;
  failures: ColumnType<readonly ReplayFailure[], never, never>;
  error: string | null;
  owner: string | null;
  lease_until: NullableTimestamp;
  takeovers: Generated<number>;
  touched_at: ColumnType<Date, never, never>;
  created_at: ColumnType<Date, never, never>;
  started_at: NullableTimestamp;
  finished_at: NullableTimestamp;
}

export interface ReplayMarksTable {
  tenant_id: string;
  key_digest: string;
  fingerprint: string;
  replay_id: string;
}

export interface ReplayForksTable {
  replay_id: string;
  run_id: string;
  from_step: number;
  cap_nano: number;
  fork_run_id: string | null;
  held_at: ColumnType<Date, never, never>;
}

import type { ApiScope, Category, Priority, RunStatus, WaitReason } from '@signalbox/contracts';
import type { ColumnType, Generated, GeneratedAlways } from 'kysely';
import type { ReplayForksTable, ReplayMarksTable, ReplaysTable } from '../replays/replay-tables.ts';

/** Timestamps are read as Date and may be written as RFC 3339 text. */
type Timestamp = ColumnType<Date, Date | string, Date | string>;
type NullableTimestamp = ColumnType<
  Date | null,
  Date | string | null | undefined,
  Date | string | null | undefined
>;
/** jsonb, written by the writer's own statements only. */
type JsonColumn = ColumnType<unknown, never, never>;

interface TenantsTable {
  id: string;
  partition: Generated<number>;
  time_zone: Generated<string>;
  next_time_zone: string | null;
  next_time_zone_from: NullableTimestamp;
  created_at: ColumnType<Date, Date | string | undefined, never>;
}

export type CapName =
  | 'run'
  | 'daily'
  | 'monthly'
  | 'user_daily'
  | 'user_monthly'
  | 'max_runs'
  | 'user_max_runs';

interface CapsTable {
  tenant_id: string;
  /** '' for the tenant itself. */
  user_id: string;
  name: CapName;
  /** Null: none. */
  amount: number | null;
  updated_at: ColumnType<Date, Date | string | undefined, Date | string>;
  updated_by: Generated<string>;
}

interface ApiKeysTable {
  id: string;
  tenant_id: string;
  name: Generated<string>;
  hash: string;
  scopes: ApiScope[];
  created_at: ColumnType<Date, Date | string | undefined, never>;
  expires_at: NullableTimestamp;
  revoked_at: NullableTimestamp;
}

interface ProviderKeysTable {
  tenant_id: string;
  provider: string;
  key_id: string;
  sealed_key: string;
  set_at: ColumnType<Date, never, Date>;
  set_by: string;
}

interface AgentsTable {
  tenant_id: string;
  name: string;
  latest_version: Generated<number>;
  created_at: ColumnType<Date, Date | string | undefined, never>;
}

interface AgentVersionsTable {
  tenant_id: string;
  name: string;
  version: number;
  digest: string;
  sealed_spec: string;
  created_at: ColumnType<Date, Date | string | undefined, never>;
}

interface RunsTable {
  id: string;
  tenant_id: string;
  status: Generated<RunStatus>;
  waiting_for: WaitReason | null;
  error_code: string | null;
  agent: string | null;
  agent_version: number | null;
  user_id: string | null;
  session_id: string | null;
  parent_run_id: string | null;
  forked_from: string | null;
  root_run_id: string;
  model: string | null;
  priority: Priority | null;
  cap_nano: number | null;
  cost_observed_nano: Generated<number>;
  /** numeric: text, exact. */
  cost_observed_usd: GeneratedAlways<string>;
  estimated: Generated<boolean>;
  input_tokens: Generated<number>;
  output_tokens: Generated<number>;
  cache_read_tokens: Generated<number>;
  cache_write_tokens: Generated<number>;
  steps: Generated<number>;
  epoch: Generated<number>;
  last_seq: Generated<number>;
  status_seq: Generated<number>;
  started_seq: number | null;
  created_at: Timestamp;
  started_at: NullableTimestamp;
  finished_at: NullableTimestamp;
  /** Set by erase_run_contents alone. */
  content_erased: ColumnType<boolean, never, never>;
}

interface AuditEventsTable {
  run_id: string;
  seq: number;
  event_id: string;
  tenant_id: string;
  epoch: number | null;
  type: string;
  category: Category;
  ts: Timestamp;
  actor: JsonColumn;
  data: JsonColumn;
  refs: JsonColumn;
  prev: string | null;
  hash: string;
  body: string | null;
}

interface CheckpointsTable {
  tenant_id: string;
  n: number;
  ts: Timestamp;
  prev: string;
  root: string;
  chains: number;
  key_id: string;
  public_key: string;
  hash: string;
  signature: string;
}

interface RunKeysTable {
  run_id: string;
  wrapped_key: string;
}

interface ContentsTable {
  run_id: string;
  ref: string;
  sealed: Buffer;
}

interface ErasedRunsTable {
  run_id: string;
  tenant_id: string;
  erased_at: ColumnType<Date, never, never>;
}

interface LegalHoldsTable {
  tenant_id: string;
  /** '' for everything of the tenant. */
  run_id: string;
  reason: string | null;
  held_by: string;
  since: ColumnType<Date, never, never>;
}

interface RetentionTable {
  tenant_id: string;
  content_days: ColumnType<number | null, number | null | undefined, number | null>;
  event_days: ColumnType<number | null, number | null | undefined, number | null>;
  changed_by: Generated<string>;
  changed_at: ColumnType<Date, never, Date>;
}

interface AuditQuarantineTable {
  id: string;
  stream_id: string;
  run_id: string;
  seq: number | null;
  reason: string;
  detail: Generated<string>;
  raw: Buffer;
  created_at: ColumnType<Date, Date | string | undefined, never>;
}

interface CostLedgerTable {
  hold_id: string;
  tenant_id: string;
  user_id: string | null;
  agent: string | null;
  run_id: string;
  root_run_id: string;
  step: number;
  attempt: number;
  provider: string;
  model: string;
  price_version: string | null;
  /** `YYYY-MM-DD`. */
  day: string | null;
  held_nano: number | null;
  observed_nano: number | null;
  state: 'held' | 'settled' | 'expired';
  estimated: boolean;
  completed: boolean;
  settled_seq: number | null;
}

interface DailyCostsTable {
  tenant_id: string;
  day: string;
  user_id: string;
  agent: string;
  model: string;
  observed_nano: Generated<number>;
  calls: Generated<number>;
}

interface ReplayRecordsView {
  run_id: string;
  step_index: number;
  attempt: number;
  kind: 'llm' | 'tool';
  input_ref: string | null;
  output_ref: string | null;
  model: string | null;
  cost_estimate_usd: string | null;
  cost_observed_usd: string | null;
  price_version: string | null;
  started_at: Date;
  finished_at: Date | null;
  tenant_id: string;
  tool: string | null;
  outcome: 'completed' | 'failed' | null;
}

/** The tables as kysely sees them; `schema.sql` says what they are. */
export interface Tables {
  tenants: TenantsTable;
  caps: CapsTable;
  api_keys: ApiKeysTable;
  provider_keys: ProviderKeysTable;
  agents: AgentsTable;
  agent_versions: AgentVersionsTable;
  runs: RunsTable;
  audit_events: AuditEventsTable;
  checkpoints: CheckpointsTable;
  run_keys: RunKeysTable;
  contents: ContentsTable;
  erased_runs: ErasedRunsTable;
  legal_holds: LegalHoldsTable;
  retention: RetentionTable;
  audit_quarantine: AuditQuarantineTable;
  cost_ledger: CostLedgerTable;
  daily_costs: DailyCostsTable;
  replay_records: ReplayRecordsView;
  replays: ReplaysTable;
  replay_marks: ReplayMarksTable;
  replay_forks: ReplayForksTable;
}

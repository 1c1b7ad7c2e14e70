/** The environment of each process, as the outer contract states it. Change it there first. */
export const PROCESSES = ['api', 'worker', 'audit-writer', 'scheduler', 'migrate'] as const;
export type ProcessName = (typeof PROCESSES)[number];

/** For node. The flags bound memory and pauses, not what they do. */
export const COMMANDS: Readonly<Record<ProcessName, readonly string[]>> = {
  api: ['--max-semi-space-size=16', 'services/api/src/main.ts'],
  worker: ['--max-semi-space-size=32', 'services/worker/src/main.ts'],
  'audit-writer': ['services/audit-writer/src/main.ts'],
  scheduler: ['services/scheduler/src/main.ts'],
  migrate: ['packages/audit-store/src/migrate.ts'],
};

/** Where each answers /healthz, /readyz and /metrics. */
export const PORTS: Readonly<Record<Exclude<ProcessName, 'migrate'>, number>> = {
  api: 8080,
  worker: 9464,
  'audit-writer': 9465,
  scheduler: 9466,
};

/** Without one of these the process stops at once. */
export const REQUIRED: Readonly<Record<ProcessName, readonly string[]>> = {
  api: ['REDIS_URL', 'DATABASE_URL', 'ENCRYPTION_KEYS'],
  worker: ['REDIS_URL', 'ENCRYPTION_KEYS'],
  'audit-writer': ['REDIS_URL', 'DATABASE_URL'],
  scheduler: ['REDIS_URL', 'DATABASE_URL', 'ENCRYPTION_KEYS'],
  migrate: ['DATABASE_URL'],
};

/** What a process must not be given: least privilege, and the worker needs no Postgres (R11). */
export const FORBIDDEN: Readonly<Record<ProcessName, readonly string[]>> = {
  api: ['AUDIT_SIGNING_KEY'],
  worker: ['DATABASE_URL', 'BOOTSTRAP_API_KEY', 'AUDIT_SIGNING_KEY'],
  'audit-writer': ['ENCRYPTION_KEYS', 'BOOTSTRAP_API_KEY', 'AUDIT_SIGNING_KEY'],
  scheduler: ['BOOTSTRAP_API_KEY'],
  migrate: ['REDIS_URL', 'ENCRYPTION_KEYS', 'BOOTSTRAP_API_KEY', 'AUDIT_SIGNING_KEY'],
};

const PROVIDERS = ['ANTHROPIC', 'OPENAI', 'GEMINI', 'GROQ', 'MISTRAL', 'OPENROUTER', 'DEEPSEEK'];

const NAMES: ReadonlySet<string> = new Set([
  'REDIS_URL',
  'QUEUE_REDIS_URL',
  'DATABASE_URL',
  'ENCRYPTION_KEYS',
  'BOOTSTRAP_API_KEY',
  'PORT',
  'HOST',
  'METRICS_PORT',
  'WORKER_CONCURRENCY',
  'LEASE_SECONDS',
  'DRAIN_SECONDS',
  ...PROVIDERS.flatMap((name) => [`${name}_API_KEY`, `${name}_BASE_URL`]),
  'OAUTH_GPT_BRIDGE_URL',
  'DEFAULT_RUN_CAP_USD',
  'DEFAULT_USER_DAILY_CAP_USD',
  'DEFAULT_TENANT_DAILY_CAP_USD',
  'HTTP_TOOL_ALLOW',
  // beyond the contract
  'OAUTH_GPT_BRIDGE_TOKEN',
  'HIBERNATE_AFTER_SECONDS',
  'WAITING_EXPIRY_DAYS',
  'RATE_LIMIT_PER_SECOND',
  'SHUTDOWN_DELAY_SECONDS',
  'AUDIT_BACKLOG_LIMIT',
  'AUDIT_RETENTION_DAYS',
  'AUDIT_SIGNING_KEY',
  'CHECKPOINT_FILE',
  'BUILD_SHA',
  'PRICE_OVERRIDES_FILE',
  'REDIS_CHECK',
  'RUN_TTL_SECONDS',
  'STALL_SECONDS',
  'TIME_SLICE_SECONDS',
  'LOG_LEVEL',
]);

export const isContractVariable = (name: string): boolean => NAMES.has(name) || name.startsWith('OTEL_');

/** Names of section 4 of the contract, without the prefix `signalbox_`; histograms have _bucket, _sum, _count. */
export const METRICS: ReadonlySet<string> = new Set(
  [
    'runs_submitted_total runs_finished_total runs_active run_duration_seconds run_queue_wait_seconds queue_depth',
    'queue_oldest_waiting_seconds worker_slots worker_slots_busy event_loop_lag_seconds llm_request_duration_seconds',
    'llm_tokens_total llm_errors_total tool_duration_seconds step_overhead_seconds cost_usd_total cost_held_usd',
    'cost_denied_total cap_remaining_ratio aborts_total abort_latency_seconds fenced_writes_total resumes_total',
    'duplicate_attempts_total audit_backlog_events audit_lag_seconds audit_batch_rows audit_written_total',
    'audit_quarantined_total',
    // beyond the contract
    'pressure_level state_trusted scheduler_leader runs_not_restored audit_default_partition_events checkpoint_age_seconds retention_erased_total',
  ].flatMap((line) => line.split(' ')),
);

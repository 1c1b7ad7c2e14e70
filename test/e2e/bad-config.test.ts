/** Must show 9: on a bad configuration a service does not start; it says everything that is wrong, once, and no value. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { test } from 'node:test';
import { text } from 'node:stream/consumers';
import { REPOSITORY } from '@signalbox/local';

const SECRET = 'hunter2hunter2';
const QUICKLY_MS = 60_000;

interface Case {
  readonly entry: string;
  readonly env: Readonly<Record<string, string>>;
  /** Required and not given. */
  readonly missing: readonly string[];
}

const CASES: readonly Case[] = [
  {
    entry: 'services/api/src/main.ts',
    env: {
      DATABASE_URL: `mysql://root:${SECRET}@db/x`,
      ENCRYPTION_KEYS: `k1:${SECRET}`,
      BOOTSTRAP_API_KEY: `two words ${SECRET}`,
      PORT: 'eighty',
      DEFAULT_RUN_CAP_USD: '-1',
      DEFAULT_TENANT_DAILY_CAP_USD: 'lots',
      LOG_LEVEL: 'loud',
      ANTHROPIC_API_KEY: `${SECRET}\n${SECRET}`,
      AUDIT_BACKLOG_LIMIT: '99999999999',
      OTEL_EXPORTER_OTLP_ENDPOINT: SECRET,
      RATE_LIMIT_PER_SECOND: '-1',
      SHUTDOWN_DELAY_SECONDS: '121',
      PRICE_OVERRIDES_FILE: '/no/such/file',
    },
    missing: ['REDIS_URL'],
  },
  {
    entry: 'services/worker/src/main.ts',
    env: {
      REDIS_URL: `http://:${SECRET}@redis:6379`,
      QUEUE_REDIS_URL: SECRET,
      WORKER_CONCURRENCY: '0',
      LEASE_SECONDS: '1.5',
      DRAIN_SECONDS: 'soon',
      METRICS_PORT: '70000',
      OPENAI_BASE_URL: `ftp://${SECRET}`,
      OPENAI_API_KEY: `${SECRET}\n${SECRET}`,
      LOG_LEVEL: SECRET,
      OAUTH_GPT_BRIDGE_TOKEN: `${SECRET}\u2026`,
    },
    missing: ['ENCRYPTION_KEYS'],
  },
  {
    entry: 'services/worker/src/main.ts',
    env: {
      REDIS_URL: `redis://:${SECRET}@redis:6379/abc`,
      QUEUE_REDIS_URL: `redis://:50%${SECRET}@redis:6379`,
      WORKER_CONCURRENCY: '10001',
      LEASE_SECONDS: '999999999999999',
      DRAIN_SECONDS: '86401',
      TIME_SLICE_SECONDS: '86401',
      STALL_SECONDS: '86401',
      OTEL_EXPORTER_OTLP_ENDPOINT: SECRET,
    },
    missing: ['ENCRYPTION_KEYS'],
  },
  {
    entry: 'services/audit-writer/src/main.ts',
    env: {
      REDIS_URL: `redis:${SECRET}`,
      LOG_LEVEL: SECRET,
      METRICS_PORT: '-1',
      OTEL_EXPORTER_OTLP_ENDPOINT: SECRET,
      LEASE_SECONDS: '3601',
      STALL_SECONDS: '86401',
      RUN_TTL_SECONDS: '2592001',
    },
    missing: ['DATABASE_URL'],
  },
  {
    entry: 'services/scheduler/src/main.ts',
    env: {
      ENCRYPTION_KEYS: `${SECRET},${SECRET}`,
      LEASE_SECONDS: 'x',
      METRICS_PORT: '1e3',
      STALL_SECONDS: '86401',
      HIBERNATE_AFTER_SECONDS: '2592001',
      WAITING_EXPIRY_DAYS: SECRET,
      AUDIT_RETENTION_DAYS: '36501',
      OTEL_EXPORTER_OTLP_ENDPOINT: SECRET,
    },
    missing: ['REDIS_URL', 'DATABASE_URL'],
  },
  { entry: 'packages/audit-store/src/migrate.ts', env: { DATABASE_URL: `nowhere ${SECRET}` }, missing: [] },
  { entry: 'packages/audit-store/src/migrate.ts', env: {}, missing: ['DATABASE_URL'] },
];

const run = async ({ entry, env }: Case) => {
  const { PATH, NODE_COMPILE_CACHE } = process.env;
  const child = spawn(process.execPath, [`${REPOSITORY}/${entry}`], {
    cwd: REPOSITORY,
    env: { PATH, NODE_COMPILE_CACHE, ...env },
    stdio: ['ignore', 'pipe', 'pipe'],
    timeout: QUICKLY_MS,
    killSignal: 'SIGKILL',
  });
  const exited = new Promise<number | null>((resolve) => child.once('exit', resolve));
  const [stdout, stderr, code] = await Promise.all([text(child.stdout), text(child.stderr), exited]);
  return { stdout, stderr, code };
};

for (const each of CASES) {
  const bad = Object.keys(each.env);
  test(`${each.entry} refuses ${[...bad, ...each.missing].join(', ')}`, async () => {
    const { stdout, stderr, code } = await run(each);
    assert.equal(
      code,
      78,
      `exit code ${code} (null: it went on for ${QUICKLY_MS / 1000} s)\n${stdout}${stderr}`,
    );
    assert.equal(stdout, '');
    assert.ok(!stderr.includes(SECRET), stderr);
    const [title, ...lines] = stderr.trimEnd().split('\n');
    assert.equal(title, 'bad configuration:');
    for (const name of bad) assert.match(stderr, new RegExp(`^  ${name} is malformed: expected `, 'm'));
    for (const name of each.missing)
      assert.match(stderr, new RegExp(`^  ${name} is missing: expected `, 'm'));
    const named = new Set(lines.map((line) => line.trim().split(' ')[0]));
    assert.deepEqual(named, new Set([...bad, ...each.missing]));
  });
}

/**
 * The whole of Signalbox as a chaos run needs it: stores that may be killed, two of every service and four workers
 * behind proxies, the fake provider and a tool target with their own books, three tenants with caps.
 */
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { createApiKey } from '@signalbox/api';
import { createPool, type Db } from '@signalbox/audit-store';
import { toUsd } from '@signalbox/contracts';
import { type LocalPostgres, type LocalRedis, runToEnd, startPostgres, startRedis } from '@signalbox/local';
import { connect, disconnect, openPartition, type Partition } from '@signalbox/run-state';
import { zoneAtNoon } from '../e2e/cap-race-world.ts';
import { seeded } from '../e2e/cap-race-plan.ts';
import { createClient } from '../e2e/client.ts';
import { type FakeProvider, startFakeProvider } from '../support/fake-provider/index.ts';
import { type Fleet, startFleet } from './fleet.ts';
import { emptyHistory, type History } from './history.ts';
import type { Loss } from './losses.ts';
import { behaviour, capsFor, type Tenant, TENANTS } from './plan.ts';
import { startToolTarget, type ToolTarget } from './tool-target.ts';

export interface WorldOptions {
  readonly seed: number;
  readonly seconds: number;
  /** Data and logs. */
  readonly dir: string;
}

export interface World {
  readonly seed: number;
  readonly dir: string;
  readonly redis: LocalRedis;
  readonly postgres: LocalPostgres;
  readonly fleet: Fleet;
  /** Past the proxies. */
  readonly partition: Partition;
  readonly db: Db;
  readonly provider: FakeProvider;
  readonly target: ToolTarget;
  readonly apiUrls: readonly string[];
  readonly keys: Readonly<Record<Tenant, string>>;
  readonly history: History;
  /** What Redis lost that nobody else had. */
  readonly losses: Loss[];
  stop(): Promise<void>;
}

export const LEASE_SECONDS = 2;
export const LEASE_MS = LEASE_SECONDS * 1000;
export const BACKLOG_LIMIT = 200;

const quiet = { onError: () => undefined };
/** A test that looks on waits for its turn, however busy the machine is. */
const PATIENCE_MS = 60_000;
type Stop = () => Promise<unknown>;

const stopAll = async (stops: Stop[]): Promise<void> => {
  for (let stop = stops.pop(); stop !== undefined; stop = stops.pop()) await stop();
};

const openTenant = async (
  { partition, db }: { partition: Partition; db: Db },
  tenant: Tenant,
  { apiUrl, seconds }: { apiUrl: string; seconds: number },
): Promise<string> => {
  const defaultCaps = { runNano: 1, userDailyNano: 1, tenantDailyNano: 1 };
  const scopes = ['runs:read', 'runs:write', 'admin'] as const;
  const { secret } = await createApiKey({ partition, db, defaultCaps }, { tenantId: tenant, scopes });
  const { daily, userDaily, maxRuns } = capsFor(seconds)[tenant];
  // As an operator sets them: in Postgres, and mirrored.
  const { status, json } = await createClient(apiUrl, secret).request('/v1/caps/tenant', {
    method: 'PUT',
    body: {
      run_usd: null,
      daily_usd: toUsd(daily),
      monthly_usd: null,
      user_daily_usd: userDaily === null ? null : toUsd(userDaily),
      max_concurrent_runs: maxRuns,
      time_zone: zoneAtNoon(),
    },
  });
  if (status !== 200) throw new Error(`caps of ${tenant}: ${status} ${JSON.stringify(json)}`);
  return secret;
};

const environment = (provider: FakeProvider, target: ToolTarget): Record<string, string> => ({
  ANTHROPIC_API_KEY: 'key-of-the-fake',
  ANTHROPIC_BASE_URL: provider.anthropicBaseUrl,
  HTTP_TOOL_ALLOW: target.host,
  ENCRYPTION_KEYS: `chaos:${randomBytes(32).toString('base64')}`,
  LEASE_SECONDS: String(LEASE_SECONDS),
  DRAIN_SECONDS: '15',
  WORKER_CONCURRENCY: '8',
  AUDIT_BACKLOG_LIMIT: String(BACKLOG_LIMIT),
  RATE_LIMIT_PER_SECOND: '0',
});

const start = async ({ seed, seconds, dir }: WorldOptions, stops: Stop[]): Promise<Omit<World, 'stop'>> => {
  const target = await startToolTarget(seeded(seed, 'target'));
  stops.push(() => target.stop());
  const provider = await startFakeProvider({ behave: behaviour(seed, target.url) });
  stops.push(() => provider.stop());
  const redis = await startRedis({ dir: join(dir, 'redis'), fsync: 'no' });
  stops.push(() => redis.stop());
  const postgres = await startPostgres({ dir: join(dir, 'postgres') });
  stops.push(() => postgres.stop('immediate'));
  const databaseUrl = await postgres.createDatabase('chaos');
  const env = environment(provider, target);
  const logDir = join(dir, 'logs');
  const stores = { REDIS_URL: redis.url, DATABASE_URL: databaseUrl };
  const entry = 'packages/audit-store/src/migrate.ts';
  await runToEnd({ name: 'migrate', entry, logDir, env: { ...process.env, ...stores } });
  const fleet = await startFleet({
    counts: { api: 2, scheduler: 2, 'audit-writer': 2, worker: 4 },
    redisPort: redis.port,
    databaseUrl,
    env,
    logDir,
    random: seeded(seed, 'network'),
  });
  stops.push(() => fleet.stop());
  const connection = connect(redis.url, 'state', quiet);
  stops.push(() => disconnect(connection));
  const db = createPool({ databaseUrl, role: 'scheduler', connectTimeoutMs: PATIENCE_MS, ...quiet });
  stops.push(() => db.destroy());
  const partition = openPartition(connection);
  const apiUrls = fleet.of('api').map((api) => api.service()?.url ?? '');
  const [apiUrl = ''] = apiUrls;
  const keys = await Promise.all(
    TENANTS.map(
      async (tenant) => [tenant, await openTenant({ partition, db }, tenant, { apiUrl, seconds })] as const,
    ),
  );
  return {
    seed,
    dir,
    redis,
    postgres,
    fleet,
    partition,
    db,
    provider,
    target,
    apiUrls,
    keys: Object.fromEntries(keys) as Record<Tenant, string>,
    history: emptyHistory(),
    losses: [],
  };
};

/** Whatever did start is stopped again when something does not. */
export const startWorld = async (options: WorldOptions): Promise<World> => {
  const stops: Stop[] = [];
  try {
    const world = await start(options, stops);
    return { ...world, stop: () => stopAll(stops) };
  } catch (error) {
    await stopAll(stops).catch(() => undefined);
    throw error;
  }
};

/** When run state was last written, ms of the Redis server's clock; 0 while it cannot be told. */
export const lastCommitMs = async ({ partition: { redis, root } }: World): Promise<number> => {
  try {
    const info = (await redis.xinfo('STREAM', `${root}:audit`)) as readonly unknown[];
    const id = info[info.indexOf('last-generated-id') + 1];
    return Number(String(id).split('-')[0]);
  } catch {
    return 0;
  }
};

/** All of Signalbox as its users start it, for one measurement: own Redis, own Postgres, real processes. */
import { mkdirSync, readdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createPool, type Db } from '@signalbox/audit-store';
import { freePort, startStack, type Stack } from '@signalbox/local';
import { connect, disconnect, openPartition, type Partition } from '@signalbox/run-state';
import { type ProfileTop, readProfile } from '../cpu-profile.ts';
import { type HttpClient, httpClient } from '../http-client.ts';
import type { Window } from '../meter.ts';
import type { ProcessGroup } from '../process-tree.ts';
import { benchPostgres, benchRedis, withStops } from '../servers.ts';
import { CLIENT, type Context, type Sample } from '../trial.ts';

export interface SignalboxOptions {
  readonly workers?: number;
  /** Runs at once per worker. */
  readonly slots?: number;
}

export interface Signalbox {
  readonly stack: Stack;
  readonly api: HttpClient;
  readonly partition: Partition;
  readonly db: Db;
  readonly databaseUrl: string;
  readonly groups: readonly ProcessGroup[];
}

const PROFILE_LINES = 15;
const quiet = { onError: () => undefined };

/** The mock costs nothing by itself, and what costs nothing is not held. */
const PRICES = JSON.stringify({ version: 'bench', models: { 'mock/script': { input: 1, output: 5 } } });

const environment = async (
  { dir, profile }: Context,
  { slots = 100 }: SignalboxOptions,
): Promise<Record<string, string>> => ({
  PRICE_OVERRIDES_FILE: pricesFile(dir),
  PORT: String(await freePort()),
  RATE_LIMIT_PER_SECOND: '0',
  WORKER_CONCURRENCY: String(slots),
  // Money is held and settled in every scope as always; it only must not run out.
  DEFAULT_RUN_CAP_USD: '1000',
  DEFAULT_USER_DAILY_CAP_USD: '1000000',
  DEFAULT_TENANT_DAILY_CAP_USD: '1000000',
  ...(profile ? { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${profileDir(dir)}` } : {}),
});

const pricesFile = (dir: string): string => join(dir, 'prices.json');
const profileDir = (dir: string): string => join(dir, 'profiles');

const groupsOf = ({ api, scheduler, auditWriter, workers }: Stack): ProcessGroup[] => [
  { name: 'api', roots: [api.pid] },
  { name: 'worker', roots: workers.map(({ pid }) => pid) },
  { name: 'audit-writer', roots: [auditWriter.pid] },
  { name: 'scheduler', roots: [scheduler.pid] },
  { name: CLIENT, roots: [process.pid], alone: true },
];

const readProfiles = (
  dir: string,
  { api, auditWriter, workers }: Stack,
  window?: Window,
): Record<string, ProfileTop> => {
  const services = { api, 'audit-writer': auditWriter, ...(workers[0] && { worker: workers[0] }) };
  const files = readdirSync(profileDir(dir));
  return Object.fromEntries(
    Object.entries(services).flatMap(([name, { pid }]) => {
      const file = files.find((one) => one.split('.')[3] === String(pid));
      return file === undefined
        ? []
        : [[name, readProfile(join(profileDir(dir), file), PROFILE_LINES, window)]];
    }),
  );
};

/** Starts everything, hands it to `work`, stops it, and reads the profiles that the services left. */
export const withSignalbox = async (
  context: Context,
  options: SignalboxOptions,
  work: (signalbox: Signalbox) => Promise<Sample>,
): Promise<Sample> => {
  const started: { stack?: Stack } = {};
  mkdirSync(profileDir(context.dir), { recursive: true });
  writeFileSync(pricesFile(context.dir), PRICES);
  const sample = await withStops(async (onStop) => {
    const redis = await benchRedis(context);
    onStop(() => redis.stop());
    const postgres = await benchPostgres(context);
    onStop(() => postgres.stop());
    const env = {
      ...(await environment(context, options)),
      REDIS_URL: redis.url,
      DATABASE_URL: postgres.url,
    };
    const stack = await startStack({ dir: join(context.dir, 'stack'), workers: options.workers ?? 2, env });
    started.stack = stack;
    onStop(() => stack.stop());
    const connection = connect(redis.url, 'state', quiet);
    onStop(() => disconnect(connection));
    const db = createPool({ databaseUrl: postgres.url, role: 'scheduler', ...quiet });
    onStop(() => db.destroy());
    const api = httpClient(stack.apiUrl, { authorization: `Bearer ${stack.apiKey}` });
    onStop(async () => api.close());
    const groups = [...groupsOf(stack), redis.group, postgres.group];
    return await work({
      stack,
      api,
      partition: openPartition(connection),
      db,
      databaseUrl: postgres.url,
      groups,
    });
  });
  const { stack } = started;
  return context.profile && stack !== undefined
    ? { ...sample, profiles: readProfiles(context.dir, stack, sample.window) }
    : sample;
};

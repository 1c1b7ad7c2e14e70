/**
 * All of Signalbox as real processes for one test file: a Redis of its own (the services use one fixed key
 * root), a database of its own, and the fake provider in the place of Anthropic and OpenAI.
 */
import { randomUUID } from 'node:crypto';
import { join } from 'node:path';
import { createPool, type Db, migrate } from '@signalbox/audit-store';
import {
  freePort,
  type LocalPostgres,
  type LocalRedis,
  migratedTestDatabase,
  type Stack,
  startPostgres,
  startRedis,
  startStack,
  temporaryDir,
  waitFor,
} from '@signalbox/local';
import {
  connect,
  disconnect,
  openPartition,
  type Partition,
  readSpend,
  runKey,
  type Spend,
} from '@signalbox/run-state';
import { messageOf } from '@signalbox/runtime';
import { allStored } from '../support/all-stored.ts';
import { check, type CheckOptions, gatherEvidence, type ProviderRequest } from '../support/checker.ts';
import {
  type FakeProvider,
  type FakeProviderOptions,
  startFakeProvider,
} from '../support/fake-provider/index.ts';
import { type ApiClient, createClient } from './client.ts';

export const FULL = process.env['PROVE'] === 'full';

export interface SystemOptions {
  readonly workers?: number;
  readonly leaseSeconds?: number;
  readonly provider?: FakeProviderOptions;
  readonly env?: Readonly<Record<string, string>>;
  /** A Postgres that the test may stop. */
  readonly ownPostgres?: boolean;
  /** The test kills Redis, and what it had said to have is there afterwards. */
  readonly killsRedis?: boolean;
  /** Redis asks for it until it is started anew. */
  readonly redisPassword?: string;
}

export interface System {
  /** Holds the data and the logs of everything: `redis`, `postgres`, `stack`. */
  readonly dir: string;
  readonly stack: Stack;
  readonly redis: LocalRedis;
  /** Null unless `ownPostgres`. */
  readonly postgres: LocalPostgres | null;
  readonly provider: FakeProvider;
  readonly api: ApiClient;
  readonly partition: Partition;
  readonly db: Db;
  /** Environment that every service got. */
  readonly env: Readonly<Record<string, string>>;
  stop(): Promise<void>;
}

const WORKER_ENV = { ANTHROPIC_API_KEY: 'key-of-the-fake', OPENAI_API_KEY: 'key-of-the-fake' };
const quiet = { onError: () => undefined };
/** A test that looks on waits for its turn, however busy the machine is. */
const PATIENCE_MS = 60_000;

type Stop = () => Promise<unknown>;

/** One that fails does not leave the others running: they would keep the test's process alive. */
const stopAll = async (stops: readonly Stop[]): Promise<void> => {
  const failures: unknown[] = [];
  for (const stop of stops.toReversed()) await stop().catch((error: unknown) => failures.push(error));
  if (failures.length > 0) throw failures[0];
};

const protectedBy = async (redis: LocalRedis, password: string): Promise<LocalRedis> => {
  const connection = connect(redis.url, 'state', quiet);
  await connection.config('SET', 'requirepass', password);
  await disconnect(connection);
  return { ...redis, url: redis.url.replace('://', `://:${encodeURIComponent(password)}@`) };
};

const startStateRedis = async (
  dir: string,
  { redisPassword, killsRedis = false }: SystemOptions,
): Promise<LocalRedis> => {
  const redis = await startRedis({ dir: join(dir, 'redis'), fsync: killsRedis ? 'no' : 'everysec' });
  return redisPassword === undefined ? redis : protectedBy(redis, redisPassword);
};

const migratedOn = async (postgres: LocalPostgres, name: string): Promise<string> => {
  const databaseUrl = await postgres.createDatabase(name);
  await migrate(databaseUrl);
  return databaseUrl;
};

const start = async (options: SystemOptions, dir: string, stops: Stop[]): Promise<Omit<System, 'stop'>> => {
  const provider = await startFakeProvider(options.provider);
  stops.push(() => provider.stop());
  const redis = await startStateRedis(dir, options);
  stops.push(() => redis.stop());
  const postgres = options.ownPostgres === true ? await startPostgres({ dir: join(dir, 'postgres') }) : null;
  stops.push(async () => postgres?.stop('immediate'));
  const name = `e2e_${randomUUID().replaceAll('-', '')}`;
  const databaseUrl = await (postgres === null
    ? migratedTestDatabase(name, migrate)
    : migratedOn(postgres, name));
  const env = {
    ...WORKER_ENV,
    ANTHROPIC_BASE_URL: provider.anthropicBaseUrl,
    OPENAI_BASE_URL: provider.openaiBaseUrl,
    GEMINI_BASE_URL: provider.openaiBaseUrl,
    LEASE_SECONDS: String(options.leaseSeconds ?? 10),
    PORT: String(await freePort()),
    ...options.env,
    REDIS_URL: redis.url,
    DATABASE_URL: databaseUrl,
  };
  const stack = await startStack({
    dir: join(dir, 'stack'),
    workers: options.workers ?? 2,
    env,
    migrated: true,
  });
  stops.push(() => stack.stop());
  const connection = connect(redis.url, 'state', quiet);
  stops.push(() => disconnect(connection));
  const db = createPool({ databaseUrl, role: 'scheduler', connectTimeoutMs: PATIENCE_MS, ...quiet });
  stops.push(() => db.destroy());
  const api = createClient(stack.apiUrl, stack.apiKey);
  return { dir, stack, redis, postgres, provider, api, partition: openPartition(connection), db, env };
};

/** Whatever did start is stopped again when something does not. */
export const startSystem = async (options: SystemOptions = {}): Promise<System> => {
  const stops: Stop[] = [];
  try {
    const system = await start(options, await temporaryDir(), stops);
    return { ...system, stop: () => stopAll(stops) };
  } catch (error) {
    await stopAll(stops).catch(() => undefined);
    throw error;
  }
};

const ENDED = new Set(['succeeded', 'failed', 'aborted']);

const statuses = async ({ redis, ...partition }: Partition, ids: readonly string[]) => {
  const pipeline = redis.pipeline();
  for (const id of ids) pipeline.hget(runKey({ ...partition, redis }, id), 'status');
  return ((await pipeline.exec()) ?? []).map(([, status]) => String(status));
};

/** How many of the runs have which status, in Redis. */
export const countStatuses = async (system: System, ids: readonly string[]): Promise<Map<string, number>> => {
  const groups = Map.groupBy(await statuses(system.partition, ids), (status) => status);
  return new Map(Array.from(groups, ([status, list]) => [status, list.length]));
};

/** What the tenant of the tests has spent and holds today. */
export const spentToday = async ({ partition }: System): Promise<Spend> => {
  const day = new Date().toISOString().slice(0, 10);
  return (await readSpend(partition, { tenantId: 'default', userId: null, day })).day;
};

/** Waits until all runs have ended and all their events are in Postgres. */
export const settled = async (
  system: System,
  ids: readonly string[],
  timeoutMs = 60_000,
): Promise<Map<string, number>> => {
  const { partition } = system;
  await waitFor(
    async () => ((await statuses(partition, ids)).every((status) => ENDED.has(status)) ? true : undefined),
    { what: `${ids.length} runs to end`, timeoutMs, everyMs: 100 },
  ).catch(async (error: unknown) => {
    const counts = JSON.stringify([...(await countStatuses(system, ids))]);
    throw new Error(`${messageOf(error)} ${counts}`, { cause: error });
  });
  await allStored(partition, timeoutMs);
  return countStatuses(system, ids);
};

/**
 * What the checker finds wrong; `requests` are what the provider's books show. The checker judges a system at rest:
 * a refusal that a test provoked a moment ago is an event too, and is waited for.
 */
export const violations = async (
  system: System,
  requests: readonly ProviderRequest[] | null = null,
  options: CheckOptions = {},
): Promise<string[]> => {
  await allStored(system.partition);
  const found = check(await gatherEvidence(system, requests), options);
  return found.map(({ rule, where, detail }) => `${where}: ${rule}: ${detail}`).slice(0, 20);
};

const TAG = /#tag ([\w.-]+)/;

/** An inline agent whose requests are found in the provider's books by their tag. */
export const taggedAgent = (tag: string, spec: object = {}): object => ({
  instructions: `You are tested. #tag ${tag}`,
  model: 'anthropic/claude-haiku-4-5',
  tools: ['calculator'],
  ...spec,
});

/** The provider's books by run: which model call of which run each request was. */
export const providerRequests = (
  provider: FakeProvider,
  runOfTag: ReadonlyMap<string, string>,
): ProviderRequest[] =>
  provider.ledger.map(({ body }) => {
    const text = JSON.stringify(body);
    const messages = (body as { messages?: readonly { role: string }[] }).messages ?? [];
    const call = messages.filter(({ role }) => role === 'assistant').length + 1;
    return { runId: runOfTag.get(TAG.exec(text)?.[1] ?? '') ?? 'unknown', call };
  });

/** A script of the fake (and of mock/script): model, calculator, model. */
export const THREE_STEPS = JSON.stringify({
  turns: [
    { tool_calls: [{ name: 'calculator', arguments: { expression: '6 * 7' } }] },
    { text: 'The answer is {{tool_results}}.' },
  ],
});

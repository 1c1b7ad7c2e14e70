/**
 * The api against real Redis and Postgres, without a port: each harness has keys and a database of its own.
 */
import { createRedactor, HeldSecrets, redactorsOf } from '@signalbox/engine';
import { randomUUID } from 'node:crypto';
import { createPool, type Db, migrate } from '@signalbox/audit-store';
import type { ApiScope, Run } from '@signalbox/contracts';
import { migratedTestDatabase, testRedisUrl } from '@signalbox/local';
import { createKeyVault, createModels, createPrices } from '@signalbox/providers';
import {
  connect,
  createTail,
  disconnect,
  findProviderKeys,
  markTrusted,
  openActivationQueue,
  openPartition,
  readServerId,
} from '@signalbox/run-state';
import {
  createJsonSchemas,
  createKeyring,
  createLogger,
  createMetrics,
  newDataKey,
  systemClock,
} from '@signalbox/runtime';
import { createApiMetrics } from '../src/api-metrics.ts';
import { createApiKey } from '../src/keys/api-keys.ts';
import { createApp } from '../src/http/app.ts';
import type { Api, ApiDeps } from '../src/deps.ts';
import { createRateLimit } from '../src/http/rate-limit.ts';
import { createRefusals } from '../src/audit/refusals.ts';
import { createOpenAnswers } from '../src/runs/open-answers.ts';
import { createRunReader } from '../src/runs/run-reader.ts';
import { createRunViews } from '../src/runs/run-views.ts';
import { createStoreShare } from '../src/audit/store-share.ts';

const ADMIN = 'test-admin-key';
/** Of all harnesses of a test. */
const schemas = createJsonSchemas();
const USD = 1_000_000_000;
const DEFAULT_CAPS = { runNano: USD, userDailyNano: 20 * USD, tenantDailyNano: 200 * USD };

export interface CallOptions {
  readonly key?: string | null;
  readonly headers?: Readonly<Record<string, string>>;
  /** Sent as JSON. */
  readonly json?: unknown;
  /** Sent as it is. */
  readonly body?: string | ReadableStream<Uint8Array>;
  readonly signal?: AbortSignal;
}

export interface Harness {
  readonly app: Api;
  readonly deps: ApiDeps;
  readonly db: Db;
  readonly logs: string[];
  /** As a process does that stops. */
  readonly stop: () => void;
  call(method: string, path: string, options?: CallOptions): Promise<Response>;
  /** A key of a tenant, made if it is new. */
  key(tenantId: string, scopes: readonly ApiScope[]): Promise<string>;
  submit(body?: object, options?: CallOptions): Promise<Run>;
  close(): Promise<void>;
}

export const request = (method: string, path: string, options: CallOptions): Request => {
  const { key = ADMIN, headers = {}, json, body, signal } = options;
  const sent = json === undefined ? body : JSON.stringify(json);
  return new Request(`http://api${path}`, {
    method,
    headers: {
      ...(key === null ? {} : { authorization: `Bearer ${key}` }),
      ...(json === undefined ? {} : { 'content-type': 'application/json' }),
      ...headers,
    },
    ...(sent === undefined ? {} : { body: sent, duplex: 'half' }),
    ...(signal === undefined ? {} : { signal }),
  });
};

const openStores = async () => {
  const name = `api_${randomUUID().replaceAll('-', '')}`;
  const [redisUrl, databaseUrl] = await Promise.all([testRedisUrl(), migratedTestDatabase(name, migrate)]);
  const onError = (): void => undefined;
  const connections = (['state', 'subscriber', 'queue'] as const).map((role) =>
    connect(redisUrl, role, { onError }),
  );
  const [state, subscriber, queueRedis] = connections;
  if (state === undefined || subscriber === undefined || queueRedis === undefined)
    throw new Error('no Redis');
  const partition = openPartition(state, { namespace: name });
  await markTrusted(partition, { ...(await readServerId(partition)), incarnation: 0 });
  return {
    db: createPool({ databaseUrl, role: 'api' }),
    partition,
    tail: createTail(subscriber),
    queue: openActivationQueue(partition, queueRedis),
    disconnect: () => Promise.all(connections.map(disconnect)),
  };
};

export const openHarness = async (overrides: Partial<ApiDeps> = {}): Promise<Harness> => {
  const { disconnect: disconnectAll, ...stores } = await openStores();
  const { partition, db } = stores;
  const logs: string[] = [];
  const closing = new AbortController();
  const clock = systemClock;
  const metrics = createMetrics({ prefix: 'signalbox_' });
  const secrets = new HeldSecrets([]);
  const logger = createLogger({
    service: 'api',
    level: 'debug',
    redactor: createRedactor({ secrets }),
    destination: { write: (line) => logs.push(line) },
  });
  const keyring = createKeyring([{ id: 'test', key: newDataKey() }]);
  const redactorOf = redactorsOf({ secrets, digest: keyring.digest });
  const runs = overrides.runs ?? createRunReader({ partition, db });
  const deps: ApiDeps = {
    ...stores,
    runs,
    views: createRunViews({ partition, runs, keyring, logger }),
    keyring,
    redactorOf,
    prices: createPrices({ clock }),
    build: 'test',
    clock,
    logger,
    metrics,
    counters: createApiMetrics({ metrics, partition, clock }),
    ready: async () => ({ status: 'ok', checks: {} }),
    auditBacklogLimit: 100_000,
    defaultCaps: DEFAULT_CAPS,
    rateLimit: createRateLimit(partition, 0),
    refusals: createRefusals({ partition, clock, redactorOf, logger }),
    storeShare: createStoreShare(),
    openAnswers: createOpenAnswers(),
    vault: createKeyVault({
      keyring,
      clock,
      secrets,
      keys: { anthropic: 'key-of-the-environment' },
      find: (tenantId) => findProviderKeys(partition, tenantId),
    }),
    models: createModels({ clock, fetch: () => Promise.reject(new Error('no network here')) }),
    schemas,
    closing: closing.signal,
    ...overrides,
  };
  const app = createApp(deps);
  const keyDeps = { partition, db, defaultCaps: DEFAULT_CAPS };
  await createApiKey(keyDeps, { tenantId: 'default', scopes: ['admin'], secret: ADMIN });
  const call = async (method: string, path: string, options: CallOptions = {}): Promise<Response> =>
    app.fetch(request(method, path, options));
  return {
    app,
    deps,
    db,
    logs,
    stop: () => closing.abort(),
    call,
    key: async (tenantId, scopes) => (await createApiKey(keyDeps, { tenantId, scopes })).secret,
    submit: async (body = {}, options = {}) => {
      const json = { agent: { model: 'mock/echo' }, input: 'hello', ...body };
      const response = await call('POST', '/v1/runs', { ...options, json });
      const text = await response.text();
      if (response.status !== 202) throw new Error(`submit answered ${response.status}: ${text}`);
      return JSON.parse(text) as Run;
    },
    close: async () => {
      closing.abort();
      await deps.queue.close();
      await disconnectAll();
      await db.destroy();
    },
  };
};

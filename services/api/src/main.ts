/**
 * The api process: the only place that builds its clients. Stops in the reverse order: it is not ready any more but
 * goes on serving for a while, then requests, waits and open streams end, then the queue, Redis, Postgres.
 */
import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import { getRequestListener } from '@hono/node-server';
import { createPool, type Db, ping } from '@signalbox/audit-store';
import { createRedactor, HeldSecrets, redactorsOf } from '@signalbox/engine';
import { createKeyVault, createModels, createPrices } from '@signalbox/providers';
import {
  checkServers,
  connect,
  createTail,
  disconnect,
  followTime,
  findProviderKeys,
  openActivationQueue,
  openPartition,
} from '@signalbox/run-state';
import {
  checkReadiness,
  createJsonSchemas,
  createKeyring,
  createMetrics,
  exitOnProblems,
  type Logger,
  SharedClock,
  type Shutdown,
  startService,
  systemClock,
} from '@signalbox/runtime';
import { createApiMetrics } from './api-metrics.ts';
import { createApp } from './http/app.ts';
import { startBootstrap } from './keys/bootstrap.ts';
import { type ApiConfig, loadConfig } from './config.ts';
import type { ApiDeps } from './deps.ts';
import { startServer } from './http/http-server.ts';
import { createRateLimit } from './http/rate-limit.ts';
import { answerUnread } from './http/unread-requests.ts';
import { createRefusals, type Refusals } from './audit/refusals.ts';
import { runReplays } from './replays/replay-loop.ts';
import { createOpenAnswers } from './runs/open-answers.ts';
import { createRunReader } from './runs/run-reader.ts';
import { createRunViews } from './runs/run-views.ts';
import { createStoreShare } from './audit/store-share.ts';

/** What requests in flight get at the stop before they are cut. */
const FINISH_MS = 8000;
const CUT_MS = 2000;

/** What a provider may take to answer a ping. */
const PING_MS = 10_000;

/** What stands before the clients do. */
interface Frame {
  readonly config: ApiConfig;
  readonly secrets: HeldSecrets;
  readonly logger: Logger;
  readonly shutdown: Shutdown;
  /** Aborted when connections are about to be closed. */
  readonly closing: AbortSignal;
}

const openStores = ({ config, logger, shutdown }: Frame) => {
  const db = createPool({
    databaseUrl: config.databaseUrl,
    role: 'api',
    onError: (error) => logger.warn('a connection to Postgres failed and is tried again', { error }),
  });
  shutdown.onStop('postgres', () => db.destroy());
  const redis = (url: string, role: 'state' | 'subscriber' | 'queue') => {
    const connection = connect(url, role, {
      onError: (error) => logger.warn('a connection to Redis failed and is tried again', { role, error }),
    });
    shutdown.onStop(`redis ${role}`, () => disconnect(connection));
    return connection;
  };
  const state = redis(config.redisUrl, 'state');
  const partition = openPartition(state);
  const tail = createTail(redis(config.redisUrl, 'subscriber'));
  const queueRedis = redis(config.queueRedisUrl, 'queue');
  const queue = openActivationQueue(partition, queueRedis);
  shutdown.onStop('queue', () => queue.close());
  const servers = [
    { variable: 'REDIS_URL', url: config.redisUrl, redis: state },
    { variable: 'QUEUE_REDIS_URL', url: config.queueRedisUrl, redis: queueRedis },
  ];
  const { stopping } = shutdown;
  const clock = new SharedClock(systemClock);
  void followTime({ redis: state, clock, logger, stopping });
  void checkServers(servers, { mode: config.redisCheck, clock: systemClock, logger, stopping }).then(
    exitOnProblems,
  );
  return { db, state, partition, tail, queue, clock };
};

const countRefusals = ({ shutdown }: Frame, deps: Parameters<typeof createRefusals>[0]): Refusals => {
  const refusals = createRefusals(deps);
  const counting = refusals.run(shutdown.stopping);
  // Before the stores go, and after the last request.
  shutdown.onStop('refusals', async () => {
    await counting;
    await refusals.flush();
  });
  return refusals;
};

/** What it knows of model providers, and how it tries a key. */
const openProviders = (
  { config, secrets }: Frame,
  { partition, keyring }: Pick<ApiDeps, 'partition' | 'keyring'>,
): Pick<ApiDeps, 'prices' | 'vault' | 'models'> => ({
  prices: createPrices({ clock: systemClock, ...config.prices }),
  vault: createKeyVault({
    keyring,
    clock: systemClock,
    secrets,
    keys: config.providers.keys,
    find: (tenantId) => findProviderKeys(partition, tenantId),
  }),
  models: createModels({ clock: systemClock, baseUrls: config.providers.baseUrls, timeoutMs: PING_MS }),
});

const buildDeps = (frame: Frame): ApiDeps => {
  const { config, secrets, logger, shutdown, closing } = frame;
  const { db, state, partition, tail, queue, clock } = openStores(frame);
  const metrics = createMetrics({ prefix: 'signalbox_' });
  const { stopping } = shutdown;
  const keyring = createKeyring(config.encryptionKeys);
  const schemas = createJsonSchemas();
  shutdown.onStop('schemas', () => schemas.close());
  const redactorOf = redactorsOf({ secrets, digest: keyring.digest });
  const bootstrap = startBootstrap(
    { partition, db, defaultCaps: config.defaultCaps, clock, logger, stopping, redactorOf },
    config.bootstrapApiKey,
  );
  // A Redis that came back empty gets the key again.
  state.on('ready', () => bootstrap.again());
  const runs = createRunReader({ partition, db });
  return {
    partition,
    queue,
    tail,
    db,
    runs,
    views: createRunViews({ partition, runs, keyring, logger }),
    keyring,
    redactorOf,
    build: config.build,
    ...openProviders(frame, { partition, keyring }),
    clock,
    logger,
    metrics,
    counters: createApiMetrics({ metrics, partition, clock }),
    ready: () => readiness({ db, stopping, redis: () => state.ping(), bootstrap: () => bootstrap.check() }),
    auditBacklogLimit: config.auditBacklogLimit,
    defaultCaps: config.defaultCaps,
    rateLimit: createRateLimit(partition, config.rateLimitPerSecond),
    refusals: countRefusals(frame, { partition, clock, redactorOf, logger }),
    storeShare: createStoreShare(),
    openAnswers: createOpenAnswers(),
    schemas,
    closing,
  };
};

const readiness = (checks: {
  db: Db;
  stopping: AbortSignal;
  redis: () => Promise<unknown>;
  bootstrap: () => Promise<void>;
}) =>
  checkReadiness({
    running: { run: async () => checks.stopping.throwIfAborted(), required: true },
    redis: { run: checks.redis, required: true },
    bootstrap: { run: checks.bootstrap, required: true },
    postgres: { run: () => ping(checks.db), required: false },
  });

const main = async (): Promise<void> => {
  const config = loadConfig();
  const secrets = new HeldSecrets(config.secrets);
  const redactor = createRedactor({ secrets });
  const { logger, shutdown } = await startService({ name: 'api', ...config, redactor });
  const closing = new AbortController();
  const deps = buildDeps({ config, secrets, logger, shutdown, closing: closing.signal });
  const app = createApp(deps);
  const replaying = runReplays({ ...deps, owner: randomUUID(), random: Math.random }, shutdown.stopping);
  shutdown.onStop('replays', () => replaying);
  const { port, host, shutdownDelayMs } = config;
  // A probe in HTTP/1.0 names no host.
  const answer = getRequestListener(app.fetch, { hostname: 'localhost', errorHandler: answerUnread });
  const answering = createServer((request, response) => void answer(request, response));
  const server = await startServer(answering, { port, host });
  shutdown.onStop(
    'http',
    () => server.stop({ leaveMs: shutdownDelayMs, finishMs: FINISH_MS, onClosing: () => closing.abort() }),
    { timeoutMs: shutdownDelayMs + FINISH_MS + CUT_MS },
  );
  logger.info('listening', { port: server.port, host });
};

await main();

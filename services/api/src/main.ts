/**
 * The api process: the only place that builds its clients. Stops in the reverse order: no new requests and
 * open streams end, then the queue, Redis, Postgres.
 */
import type { Server } from 'node:http';
import { createAdaptorServer } from '@hono/node-server';
import { createPool, type Db, ping } from '@signalbox/audit-store';
import { redactText } from '@signalbox/engine';
import { createPrices } from '@signalbox/providers';
import { connect, createTail, disconnect, openActivationQueue, openPartition } from '@signalbox/run-state';
import {
  checkReadiness,
  createKeyring,
  createLogger,
  createMetrics,
  createShutdown,
  type Logger,
  type Shutdown,
  startTelemetry,
  systemClock,
} from '@signalbox/runtime';
import { createApiMetrics } from './api-metrics.ts';
import { createApp } from './app.ts';
import { startBootstrap } from './bootstrap.ts';
import { type ApiConfig, loadConfig } from './config.ts';
import type { ApiDeps } from './deps.ts';
import { startServer } from './http-server.ts';
import { createRateLimit } from './rate-limit.ts';
import { createRunReader } from './run-reader.ts';

const VERSION = '0.1.0';
/** What requests in flight get at the stop before they are cut. */
const FINISH_MS = 8000;

/** What stands before the clients do. */
interface Frame {
  readonly config: ApiConfig;
  readonly logger: Logger;
  readonly shutdown: Shutdown;
}

const openStores = ({ config, logger, shutdown }: Frame) => {
  const db = createPool({
    databaseUrl: config.databaseUrl,
    role: 'api',
    onError: (error) => logger.warn('Postgres connection broke', { error }),
  });
  shutdown.onStop('postgres', () => db.destroy());
  const redis = (url: string, role: 'state' | 'subscriber' | 'queue') => {
    const connection = connect(url, role, {
      onError: (error) => logger.warn('Redis connection broke', { role, error }),
    });
    shutdown.onStop(`redis ${role}`, () => disconnect(connection));
    return connection;
  };
  const state = redis(config.redisUrl, 'state');
  const partition = openPartition(state);
  const tail = createTail(redis(config.redisUrl, 'subscriber'));
  const queue = openActivationQueue(partition, redis(config.queueRedisUrl, 'queue'));
  shutdown.onStop('queue', () => queue.close());
  return { db, state, partition, tail, queue };
};

const buildDeps = (frame: Frame): ApiDeps => {
  const { config, logger, shutdown } = frame;
  const { db, state, partition, tail, queue } = openStores(frame);
  const clock = systemClock;
  const metrics = createMetrics({ prefix: 'signalbox_' });
  const { stopping } = shutdown;
  const bootstrap = startBootstrap(
    { partition, db, defaultCaps: config.defaultCaps, clock, logger, stopping },
    config.bootstrapApiKey,
  );
  // A Redis that came back empty gets the key again.
  state.on('ready', () => bootstrap.again());
  return {
    partition,
    queue,
    tail,
    db,
    runs: createRunReader({ partition, db }),
    keyring: createKeyring(config.encryptionKeys),
    prices: createPrices({ clock, ...config.prices }),
    clock,
    logger,
    metrics,
    counters: createApiMetrics({ metrics, partition, clock }),
    ready: () => readiness({ db, redis: () => state.ping(), bootstrap: () => bootstrap.check() }),
    auditBacklogLimit: config.auditBacklogLimit,
    defaultCaps: config.defaultCaps,
    rateLimit: createRateLimit(partition, config.rateLimitPerSecond),
    providerKeys: config.providerKeys,
    stopping,
  };
};

const readiness = (checks: { db: Db; redis: () => Promise<unknown>; bootstrap: () => Promise<void> }) =>
  checkReadiness({
    redis: { run: checks.redis, required: true },
    bootstrap: { run: checks.bootstrap, required: true },
    postgres: { run: () => ping(checks.db), required: false },
  });

const main = async (): Promise<void> => {
  const config = loadConfig();
  const logger = createLogger({ service: 'api', level: config.logLevel, redact: redactText });
  const shutdown = createShutdown({ logger, exit: (code) => process.exit(code) });
  const telemetry = await startTelemetry({
    service: 'signalbox-api',
    version: VERSION,
    endpoint: config.otlpEndpoint,
    logger,
  });
  shutdown.onStop('telemetry', () => telemetry.shutdown());
  const app = createApp(buildDeps({ config, logger, shutdown }));
  const { port, host } = config;
  const server = await startServer(createAdaptorServer({ fetch: app.fetch }) as Server, { port, host });
  shutdown.onStop('http', () => server.stop(FINISH_MS));
  logger.info('listening', { port: server.port, host });
};

await main();

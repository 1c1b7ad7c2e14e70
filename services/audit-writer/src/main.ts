/** The audit-writer process: audit stream -> Postgres. Builds the clients, starts the drain, ends in good order. */
import { hostname } from 'node:os';
import { createPool, ping, writeBatch } from '@signalbox/audit-store';
import { redactText } from '@signalbox/engine';
import { connect, createAuditReader, disconnect, openPartition } from '@signalbox/run-state';
import {
  checkReadiness,
  createLogger,
  createMetrics,
  createShutdown,
  startHealthServer,
  startTelemetry,
  systemClock as clock,
  withTimeout,
} from '@signalbox/runtime';
import { loadConfig } from './config.ts';
import { Drain } from './drain.ts';
import { createDrainMetrics, exposeBacklog } from './metrics.ts';

const SERVICE = 'signalbox-audit-writer';
const VERSION = '0.1.0';
/** For the batch in hand; what is not stored by then stays pending. */
const DRAIN_MS = 5_000;
const CLOSE_MS = 2_000;

const config = loadConfig();
const logger = createLogger({ service: SERVICE, level: config.logLevel, redact: redactText });
const shutdown = createShutdown({ logger, exit: (code) => process.exit(code) });

const telemetry = await startTelemetry({
  service: SERVICE,
  version: VERSION,
  endpoint: config.otlpEndpoint,
  logger,
});

const lost = (what: string) => (error: Error) => logger.warn(`connection to ${what} failed`, { error });
const redis = connect(config.redisUrl, 'state', { onError: lost('Redis') });
const blocking = connect(config.redisUrl, 'stream', { onError: lost('Redis (blocking reads)') });
const db = createPool({ databaseUrl: config.databaseUrl, role: 'writer', onError: lost('Postgres') });
const partition = openPartition(redis);

const metrics = createMetrics({ prefix: 'signalbox_' });
exposeBacklog(metrics, { partition, clock });
const drain = new Drain(
  {
    partition,
    // A container that starts again keeps its name, and finds its own pending entries at once.
    reader: createAuditReader(partition, blocking, `${hostname()}-${process.pid}`),
    store: (records, incarnation) => writeBatch(db, records, { partition: partition.index, incarnation }),
    clock,
    logger,
    metrics: createDrainMetrics(metrics),
    random: Math.random,
  },
  { keepSeconds: config.runTtlSeconds },
);

/** A store that is away must not turn an orderly end into a failure. */
const atMost = (ms: number, what: string, work: () => Promise<unknown>) => () =>
  withTimeout(work(), ms, clock).catch((error: unknown) => logger.warn(`${what}: not in time`, { error }));

const health = await startHealthServer({
  host: config.host,
  port: config.metricsPort,
  logger,
  metrics,
  live: () => ({ status: 'ok', checks: {} }),
  ready: () =>
    checkReadiness({
      redis: { run: () => redis.ping(), required: true },
      postgres: { run: () => ping(db), required: true },
      drain: { run: async () => drain.assertWorking(), required: true },
    }),
});
const running = drain.run(shutdown.stopping);

// Stopped last to first.
shutdown.onStop(
  'telemetry',
  atMost(CLOSE_MS, 'telemetry', () => telemetry.shutdown()),
);
shutdown.onStop(
  'postgres',
  atMost(CLOSE_MS, 'postgres', () => db.destroy()),
);
shutdown.onStop(
  'redis',
  atMost(CLOSE_MS, 'redis', () => Promise.all([redis, blocking].map(disconnect))),
);
shutdown.onStop('health server', () => health.close());
shutdown.onStop(
  'drain',
  atMost(DRAIN_MS, 'drain: its batch stays pending', () => running),
);

/** The scheduler process: keeps R10. Builds the clients, starts the loops, ends in good order. */
import { randomUUID } from 'node:crypto';
import { createPool } from '@signalbox/audit-store';
import { redactText } from '@signalbox/engine';
import { connect, disconnect, openActivationQueue, openPartition } from '@signalbox/run-state';
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
import { Leadership, leaderLeaseMs } from './leadership.ts';
import { runLoop } from './loop.ts';
import { createRepairMetrics, createTrustMetrics, exposeDemand, exposeLeadership } from './metrics.ts';
import { keepPartitions } from './partitions.ts';
import { verifyRunState } from './verification.ts';

const SERVICE = 'signalbox-scheduler';
const VERSION = '0.1.0';
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
const queueRedis = connect(config.queueRedisUrl, 'queue', { onError: lost('Redis (queue)') });
const db = createPool({ databaseUrl: config.databaseUrl, role: 'scheduler', onError: lost('Postgres') });
const partition = openPartition(redis);
const queue = openActivationQueue(partition, queueRedis);

const metrics = createMetrics({ prefix: 'signalbox_' });
const leadership = new Leadership({
  partition,
  clock,
  logger,
  token: randomUUID(),
  leaseMs: leaderLeaseMs(config.leaseSeconds),
});
exposeDemand(metrics, { partition, clock });
exposeLeadership(metrics, () => leadership.isLeader());

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
      queue: { run: () => queueRedis.ping(), required: true },
    }),
});
const trust = createTrustMetrics(metrics, partition);
const verify = async () => {
  const verified = await verifyRunState({ partition, db, clock, logger });
  if (verified !== null) trust.verified(verified.seconds);
};
const ticking = runLoop(
  {
    partition,
    queue,
    clock,
    logger,
    metrics: createRepairMetrics(metrics),
    leadership,
    verify,
    random: Math.random,
  },
  shutdown.stopping,
);
void keepPartitions({ db, clock, logger }, shutdown.stopping);

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
  atMost(CLOSE_MS, 'redis', () => Promise.all([redis, queueRedis].map(disconnect))),
);
shutdown.onStop(
  'queue',
  atMost(CLOSE_MS, 'queue', () => queue.close()),
);
shutdown.onStop('health server', () => health.close());
shutdown.onStop(
  'leadership',
  atMost(CLOSE_MS, 'leadership', () => leadership.release()),
);
shutdown.onStop(
  'loop',
  atMost(CLOSE_MS, 'loop', () => ticking),
);

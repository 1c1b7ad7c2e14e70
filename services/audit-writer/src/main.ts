/**
 * The audit-writer process: audit stream -> Postgres. Of several replicas one writes, the others stand by.
 * Builds the clients, starts the relay, ends in good order.
 */
import { randomUUID } from 'node:crypto';
import { hostname } from 'node:os';
import { checkProgress, createPool, ping, writeBatch } from '@signalbox/audit-store';
import { createRedactor } from '@signalbox/engine';
import {
  checkServers,
  connect,
  createAuditReader,
  disconnect,
  followTime,
  leaderLeaseMs,
  Leadership,
  openPartition,
} from '@signalbox/run-state';
import {
  checkReadiness,
  createMetrics,
  exitOnProblems,
  Heartbeat,
  liveReport,
  SharedClock,
  startHealthServer,
  startService,
  systemClock,
  watchLiveness,
} from '@signalbox/runtime';
import { loadConfig } from './config.ts';
import { Relay } from './relay.ts';
import { createRelayMetrics, exposeBacklog, exposeLeadership } from './metrics.ts';

/** For the batch in hand; what is not stored by then stays pending. */
const RELAY_MS = 5_000;

const config = loadConfig();
const redactor = createRedactor(config);
const { logger, shutdown } = await startService({ name: 'audit-writer', ...config, redactor });
const clock = new SharedClock(systemClock);

const lost = (what: string, role?: string) => (error: Error) =>
  logger.warn(`a connection to ${what} failed and is tried again`, { role, error });
const redis = connect(config.redisUrl, 'state', { onError: lost('Redis') });
void followTime({ redis, clock, logger, stopping: shutdown.stopping });
const blocking = connect(config.redisUrl, 'stream', { onError: lost('Redis', 'blocking reads') });
const db = createPool({ databaseUrl: config.databaseUrl, role: 'writer', onError: lost('Postgres') });
// Stopped last to first.
shutdown.onStop('postgres', () => db.destroy(), { mayFail: true });
shutdown.onStop('redis', () => Promise.all([redis, blocking].map(disconnect)), { mayFail: true });
const partition = openPartition(redis);

const metrics = createMetrics({ prefix: 'signalbox_' });
exposeBacklog(metrics, { partition, clock });
const heart = new Heartbeat({ clock, limitMs: config.stallMs });
const live = () => liveReport({ relay: () => heart.check() });
/** Of this process alone: it leads by it, and consumes the stream by it. */
const identity = `${hostname()}-${process.pid}-${randomUUID().slice(0, 8)}`;
const leadership = new Leadership({
  partition,
  role: 'audit-writer',
  clock,
  logger,
  token: identity,
  leaseMs: leaderLeaseMs(config.leaseSeconds),
});
exposeLeadership(metrics, () => leadership.isLeader());
const relay = new Relay(
  {
    partition,
    leadership,
    reader: createAuditReader(partition, blocking, identity),
    store: (records, origin) => writeBatch(db, records, origin),
    check: (origin) => checkProgress(db, origin),
    clock,
    logger,
    metrics: createRelayMetrics(metrics),
    heart,
    random: Math.random,
  },
  { keepSeconds: config.runTtlSeconds },
);

const health = await startHealthServer({
  host: config.host,
  port: config.metricsPort,
  logger,
  metrics,
  live,
  ready: () =>
    checkReadiness({
      redis: { run: () => redis.ping(), required: true },
      postgres: { run: () => ping(db), required: true },
      relay: { run: async () => relay.assertWorking(), required: true },
    }),
});
shutdown.onStop('health server', () => health.close());
shutdown.onStop('leadership', () => leadership.release(), { mayFail: true });
const running = checkServers([{ variable: 'REDIS_URL', url: config.redisUrl, redis }], {
  mode: config.redisCheck,
  clock,
  logger,
  stopping: shutdown.stopping,
})
  .then(exitOnProblems)
  .then(() => relay.run(shutdown.stopping));
void watchLiveness({ live, end: (why) => shutdown.fail(why), clock, logger, stopping: shutdown.stopping });
shutdown.onStop('relay', () => running, { mayFail: true, timeoutMs: RELAY_MS });

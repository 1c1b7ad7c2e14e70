/** The scheduler process: keeps R10. Builds the clients, starts the loops, ends in good order. */
import { randomUUID } from 'node:crypto';
import { createPool } from '@signalbox/audit-store';
import { createRedactor } from '@signalbox/engine';
import {
  abortOwnerless,
  checkServers,
  connect,
  disconnect,
  followTime,
  leaderLeaseMs,
  Leadership,
  openActivationQueue,
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
  Trouble,
} from '@signalbox/runtime';
import { openCheckpointFile } from './checkpoints/checkpoint-file.ts';
import { keepCheckpoints } from './checkpoints/checkpoints.ts';
import { loadConfig } from './config.ts';
import { Hibernation, runHibernation } from './hibernation/hibernation.ts';
import { runLoop } from './repair/loop.ts';
import {
  createAbortMetrics,
  createCheckpointGauge,
  createHibernationMetrics,
  createPartitionGauge,
  createReindexCounter,
  createRepairMetrics,
  createRetentionCounter,
  createTrustMetrics,
  exposeDemand,
  exposeLeadership,
} from './metrics.ts';
import { keepPartitions } from './retention/partitions.ts';
import { keepIndexes } from './repair/reindex.ts';
import { keepRetention } from './retention/retention.ts';
import { verifyRunState } from './trust/verification.ts';

const SECOND = 1000;
const DAY = 86_400 * SECOND;

const config = loadConfig();
const redactor = createRedactor(config);
const { logger, shutdown } = await startService({ name: 'scheduler', ...config, redactor });
const { stopping } = shutdown;
const clock = new SharedClock(systemClock);

const lost = (what: string, role?: string) => (error: Error) =>
  logger.warn(`a connection to ${what} failed and is tried again`, { role, error });
const redis = connect(config.redisUrl, 'state', { onError: lost('Redis') });
void followTime({ redis, clock, logger, stopping });
const queueRedis = connect(config.queueRedisUrl, 'queue', { onError: lost('Redis', 'queue') });
const db = createPool({ databaseUrl: config.databaseUrl, role: 'scheduler', onError: lost('Postgres') });
// Stopped last to first.
shutdown.onStop('postgres', () => db.destroy(), { mayFail: true });
shutdown.onStop('redis', () => Promise.all([redis, queueRedis].map(disconnect)), { mayFail: true });
const partition = openPartition(redis);
const queue = openActivationQueue(partition, queueRedis);
shutdown.onStop('queue', () => queue.close(), { mayFail: true });

const metrics = createMetrics({ prefix: 'signalbox_' });
const leadership = new Leadership({
  partition,
  role: 'scheduler',
  clock,
  logger,
  token: randomUUID(),
  leaseMs: leaderLeaseMs(config.leaseSeconds),
});
exposeDemand(metrics, { partition, clock });
const isLeader = () => leadership.isLeader();
exposeLeadership(metrics, isLeader);
/** Of the loops each takes what it needs. */
const shared = { partition, db, queue, clock, logger, isLeader, random: Math.random };

const heart = new Heartbeat({ clock, limitMs: config.stallMs });
const trouble = new Trouble();
const hibernationHeart = new Heartbeat({ clock, limitMs: config.stallMs });
const live = () => liveReport({ loop: () => heart.check(), hibernation: () => hibernationHeart.check() });

const health = await startHealthServer({
  host: config.host,
  port: config.metricsPort,
  logger,
  metrics,
  live,
  ready: () =>
    checkReadiness({
      redis: { run: () => redis.ping(), required: true },
      queue: { run: () => queueRedis.ping(), required: true },
      loop: { run: async () => trouble.assertNone(), required: true },
    }),
});
shutdown.onStop('health server', () => health.close());
shutdown.onStop('leadership', () => leadership.release(), { mayFail: true });
const trust = createTrustMetrics(metrics, partition);
const hibernateAfterMs = config.hibernateAfterSeconds * SECOND;
const verify = async () => {
  const verified = await verifyRunState({ ...shared, hibernateAfterMs });
  if (verified !== null) trust.verified(verified.seconds);
};
const fit = (variable: string, url: string, connection: typeof redis) =>
  checkServers([{ variable, url, redis: connection }], {
    mode: config.redisCheck,
    clock,
    logger,
    stopping,
  }).then(exitOnProblems);
const abortDeps = {
  ...shared,
  counters: createAbortMetrics(metrics),
  build: config.build,
  service: 'scheduler',
} as const;
// Run state is verified and repaired, whatever becomes of the queue.
if (config.queueRedisUrl !== config.redisUrl) void fit('QUEUE_REDIS_URL', config.queueRedisUrl, queueRedis);
const ticking = fit('REDIS_URL', config.redisUrl, redis).then(() =>
  runLoop(
    {
      ...shared,
      metrics: createRepairMetrics(metrics),
      endAborted: (runId) => abortOwnerless(abortDeps, runId),
      leadership,
      verify,
      heart,
      trouble,
    },
    stopping,
  ),
);
const hibernation = new Hibernation({
  ...shared,
  metrics: createHibernationMetrics(metrics),
  hibernateAfterMs,
  longestWaitMs: config.waitingExpiryDays * DAY,
});
const hibernating = runHibernation({ ...shared, hibernation, heart: hibernationHeart }, stopping);
void watchLiveness({ live, end: (why) => shutdown.fail(why), clock, logger, stopping });
void keepPartitions(
  { ...shared, defaultEvents: createPartitionGauge(metrics), retentionDays: config.auditRetentionDays },
  stopping,
);
const reindexing = keepIndexes({ ...shared, reindexed: createReindexCounter(metrics) }, stopping);
const erasing = keepRetention(
  {
    ...shared,
    erased: createRetentionCounter(metrics),
    defaultEventDays: config.auditRetentionDays,
  },
  stopping,
);
const checkpointing = keepCheckpoints(
  {
    ...shared,
    ageSeconds: createCheckpointGauge(metrics),
    signingKey: config.signingKey,
    sink: config.checkpointFile === null ? null : openCheckpointFile(config.checkpointFile),
  },
  stopping,
);

shutdown.onStop('loops', () => Promise.all([ticking, hibernating, reindexing, erasing, checkpointing]), {
  mayFail: true,
});

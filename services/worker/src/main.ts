import { redactText } from '@signalbox/engine';
import { createModels, createPrices } from '@signalbox/providers';
import {
  type Activation,
  connect,
  consumeActivations,
  createTail,
  disconnect,
  openActivationQueue,
  openPartition,
} from '@signalbox/run-state';
import {
  checkReadiness,
  createKeyring,
  createLogger,
  createShutdown,
  startHealthServer,
  startTelemetry,
  systemClock as clock,
} from '@signalbox/runtime';
import { watchAborts } from './abort-watch.ts';
import { loadConfig } from './config.ts';
import { createDays } from './days.ts';
import { LeaseKeeper } from './lease-keeper.ts';
import { createWorkerMetrics } from './metrics.ts';
import { spans } from './spans.ts';
import { builtInTools } from './tools/index.ts';
import { RunWorker } from './worker.ts';

const config = loadConfig();
const logger = createLogger({ service: 'worker', level: config.logLevel, redact: redactText });
const shutdown = createShutdown({ logger, exit: (code) => process.exit(code) });
const telemetry = await startTelemetry({
  service: 'signalbox-worker',
  version: '0.1.0',
  endpoint: config.otlpEndpoint,
  logger,
});
shutdown.onStop('telemetry', () => telemetry.shutdown());

const open = (url: string, role: Parameters<typeof connect>[1]) => {
  const redis = connect(url, role, { onError: (error) => logger.warn('redis', { connection: role, error }) });
  shutdown.onStop(`redis ${role}`, () => disconnect(redis));
  return redis;
};

const state = open(config.redisUrl, 'state');
const partition = openPartition(state);
const queuePartition = openPartition(open(config.queueRedisUrl, 'queue'));
const queue = openActivationQueue(queuePartition, queuePartition.redis);
shutdown.onStop('queue', () => queue.close());

// What is lost here, the scheduler adds again (R10).
const onActivations = (activations: readonly Activation[]): void => {
  queue
    .add(activations)
    .catch((error: unknown) => logger.warn('activations not queued', { count: activations.length, error }));
};

const metrics = createWorkerMetrics();
metrics.slots(config.concurrency);
let draining = false;

const leases = new LeaseKeeper(
  { partition, clock, logger, leaseMs: config.leaseMs, onActivations },
  config.concurrency,
);
const worker = new RunWorker({
  partition,
  leases,
  keyring: createKeyring(config.encryptionKeys),
  models: createModels({ clock, keys: config.keys, baseUrls: config.baseUrls }),
  prices: createPrices({ clock, ...config.prices }),
  toolbox: builtInTools({ allow: config.httpToolAllow, fetch }),
  days: createDays(partition, clock),
  clock,
  logger,
  metrics,
  spans,
  onActivations,
  stopping: shutdown.stopping,
  draining: () => draining,
});

leases.start();
shutdown.onStop('lease', () => leases.close());

const tail = createTail(open(config.redisUrl, 'subscriber'));
void watchAborts({ partition, tail, worker, clock, logger, stopping: shutdown.stopping });

const consumer = consumeActivations(partition, open(config.queueRedisUrl, 'queue-worker'), {
  concurrency: config.concurrency,
  lockMs: config.leaseMs,
  onActivation: (activation) => worker.work(activation),
  onError: (error) => logger.warn('queue', { error }),
});

const health = await startHealthServer({
  host: config.host,
  port: config.metricsPort,
  metrics: metrics.registry,
  logger,
  live: () => ({ status: 'ok', checks: {} }),
  ready: () =>
    checkReadiness({
      redis: { run: () => state.ping(), required: true },
      lease: { run: async () => leases.current() ?? Promise.reject(new Error('no lease')), required: true },
      draining: {
        run: async () => (draining ? Promise.reject(new Error('draining')) : undefined),
        required: true,
      },
    }),
});
shutdown.onStop('health', () => health.close());

// First to run: no new runs, and each one under work is handed over at its next step boundary.
shutdown.onStop(
  'drain',
  async () => {
    draining = true;
    await leases.drain();
    await consumer.pause();
    await consumer.close();
  },
  { timeoutMs: config.drainMs },
);

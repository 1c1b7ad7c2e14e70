import { createRedactor, HeldSecrets, redactorsOf } from '@signalbox/engine';
import { createKeyVault, createModels, createPrices } from '@signalbox/providers';
import {
  type Activation,
  checkServers,
  connect,
  consumeActivations,
  createTail,
  disconnect,
  findProviderKeys,
  followTime,
  giveToQueue,
  openActivationQueue,
  openPartition,
} from '@signalbox/run-state';
import {
  checkReadiness,
  createJsonSchemas,
  createKeyring,
  exitOnProblems,
  Heartbeat,
  liveReport,
  pause,
  SharedClock,
  startHealthServer,
  startService,
  systemClock,
  watchLiveness,
} from '@signalbox/runtime';
import { watchAborts } from './lease/abort-watch.ts';
import { loadConfig } from './config.ts';
import { createDays } from './run/days.ts';
import { CUT_MS, drainWorker } from './intake/drain.ts';
import { FailedOpens } from './intake/failed-opens.ts';
import { Intake } from './intake/intake.ts';
import { LeaseKeeper } from './lease/lease-keeper.ts';
import { createWorkerMetrics } from './metrics.ts';
import { spansTo } from './spans.ts';
import { builtInTools } from './tools/index.ts';
import { RunWorker } from './worker.ts';

const config = loadConfig();
const secrets = new HeldSecrets(config.secrets);
const redactor = createRedactor({ secrets });
const { logger, shutdown } = await startService({ name: 'worker', ...config, redactor });
const { stopping } = shutdown;
const clock = new SharedClock(systemClock);

const open = (url: string, role: Parameters<typeof connect>[1]) => {
  const redis = connect(url, role, {
    onError: (error) => logger.warn('a connection to Redis failed and is tried again', { role, error }),
  });
  shutdown.onStop(`redis ${role}`, () => disconnect(redis));
  return redis;
};

const state = open(config.redisUrl, 'state');
void followTime({ redis: state, clock, logger, stopping });
const partition = openPartition(state);
const queuePartition = openPartition(open(config.queueRedisUrl, 'queue'));
const queue = openActivationQueue(queuePartition, queuePartition.redis);
shutdown.onStop('queue', () => queue.close());

const onActivations = (activations: readonly Activation[]): void =>
  giveToQueue({ queue, logger }, activations);

const metrics = createWorkerMetrics();
metrics.slots(config.concurrency);
const cut = new AbortController();

/** So long a worker may go on making calls with a key that was replaced or removed. */
const KEY_TTL_MS = 5000;
/** How long a worker that cannot open runs leaves the next to others: each that it takes first waits for a second. */
const UNFIT_REST_MS = 5000;

/** One try at a store that is away takes less. */
const LONGEST_TRY_MS = 12_000;
const heart = new Heartbeat({ clock, limitMs: Math.max(config.stallMs, LONGEST_TRY_MS) });
const leases = new LeaseKeeper(
  { partition, clock, logger, leaseMs: config.leaseMs, heart, onActivations },
  config.concurrency,
);
const keyring = createKeyring(config.encryptionKeys);
const schemas = createJsonSchemas();
shutdown.onStop('schemas', () => schemas.close());
// It goes on with one beside those at work, so that it notices when it can open runs again, and leaves the rest to
// others. Its lease offers as many slots as before: of what is admitted by them, those at work are a part.
const opens = new FailedOpens((isUnfit) => {
  if (isUnfit) {
    logger.error(
      'this worker cannot open runs that it claims, so it takes only one more at a time: compare its ENCRYPTION_KEYS and its build with those of the others',
    );
  } else logger.info('this worker can open runs again');
  fetchAsFits();
});
const worker = new RunWorker({
  partition,
  leases,
  keyring,
  opens,
  models: createModels({ clock, baseUrls: config.providers.baseUrls }),
  vault: createKeyVault({
    keyring,
    clock,
    secrets,
    keys: config.providers.keys,
    find: (tenantId) => findProviderKeys(partition, tenantId),
    ttlMs: KEY_TTL_MS,
  }),
  prices: createPrices({ clock, ...config.prices }),
  toolbox: builtInTools({ allow: config.httpToolAllow }),
  schemas,
  days: createDays(partition, clock),
  clock,
  build: config.build,
  logger,
  metrics,
  spans: spansTo(config.otlpEndpoint),
  redactorOf: redactorsOf({ secrets, digest: keyring.digest }),
  onActivations,
  stopping,
  cut: cut.signal,
  timeSliceMs: config.timeSliceMs,
});
const intake = new Intake({
  slots: config.concurrency,
  work: async (activation) => {
    const end = await worker.work(activation);
    if (!opens.isUnfit) return end;
    fetchAsFits();
    await pause(clock, UNFIT_REST_MS, stopping);
    return end;
  },
  waiting: () => queue.waiting(),
  clock,
  limitMs: config.stallMs,
});

const servers = [
  { variable: 'REDIS_URL', url: config.redisUrl, redis: state },
  { variable: 'QUEUE_REDIS_URL', url: config.queueRedisUrl, redis: queuePartition.redis },
];
// Without a lease no run is claimed, so nothing is done before both servers are known to be fit.
void checkServers(servers, { mode: config.redisCheck, clock, logger, stopping })
  .then(exitOnProblems)
  .then(() => leases.start());
// With Redis away it expires by itself.
shutdown.onStop('lease', () =>
  leases.close().catch((error: unknown) => logger.warn('lease not given back', { error })),
);

const tail = createTail(open(config.redisUrl, 'subscriber'));
void watchAborts({ partition, tail, worker, clock, logger, stopping });

const consumer = consumeActivations(partition, open(config.queueRedisUrl, 'queue-worker'), {
  slots: config.concurrency,
  lockMs: config.leaseMs,
  onActivation: (activation) => intake.take(activation),
  onError: (error) => logger.warn('the queue failed and is tried again', { error }),
});

const fetchFor = (slots: number): void => {
  consumer.offer(slots);
  intake.offer(slots);
};

/** Unfit, it takes none in the place of one that it could open and that has ended. */
const fetchAsFits = (): void => {
  if (!stopping.aborted) fetchFor(opens.isUnfit ? worker.opened + 1 : config.concurrency);
};

void intake.watch(stopping);

const live = () => liveReport({ fetching: () => intake.check(), lease: () => heart.check() });
const health = await startHealthServer({
  host: config.host,
  port: config.metricsPort,
  metrics: metrics.registry,
  logger,
  live,
  ready: () =>
    checkReadiness({
      redis: { run: () => state.ping(), required: true },
      queue: { run: () => queuePartition.redis.ping(), required: true },
      lease: { run: async () => leases.current() ?? Promise.reject(new Error('no lease')), required: true },
      opens: {
        run: async () =>
          opens.isUnfit ? Promise.reject(new Error('cannot open the runs it claims')) : undefined,
        required: true,
      },
      draining: {
        run: async () => (stopping.aborted ? Promise.reject(new Error('draining')) : undefined),
        required: true,
      },
    }),
});
shutdown.onStop('health', () => health.close());

// First to run: no new runs, and each one under work is handed over at its next step boundary.
shutdown.onStop(
  'drain',
  () => drainWorker({ consumer, intake, leases, cut, clock, logger, drainMs: config.drainMs }),
  { timeoutMs: config.drainMs + CUT_MS },
);
void watchLiveness({ live, end: (why) => shutdown.fail(why), clock, logger, stopping });

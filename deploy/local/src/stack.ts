/**
 * Owns the whole of Signalbox on this machine: Redis, Postgres, api, scheduler, audit-writer and workers.
 * Started in that order of need and stopped in the reverse: no new work, work ends, the record is written,
 * then the stores. What did start is stopped again when something does not.
 */
import { join } from 'node:path';
import { lockDir } from './lock.ts';
import { freePort } from './ports.ts';
import { startPostgres } from './postgres.ts';
import { runToEnd, type Service, startService } from './process.ts';
import { startRedis } from './redis.ts';
import { localSecrets } from './secrets.ts';
import { waitFor } from './wait.ts';

export interface StackOptions {
  /** Holds all data, secrets and logs. */
  readonly dir: string;
  /** How many; default 2. */
  readonly workers?: number;
  /** For every service, over the environment of this process. */
  readonly env?: Readonly<Record<string, string>>;
  /** DATABASE_URL has today's schema already. */
  readonly migrated?: boolean;
  /** Signs checkpoints into `<dir>/checkpoints.ndjson`. */
  readonly checkpoints?: boolean;
}

export interface Stack {
  readonly apiUrl: string;
  readonly apiKey: string;
  readonly redisUrl: string;
  readonly databaseUrl: string;
  readonly logDir: string;
  readonly api: Service;
  readonly scheduler: Service;
  readonly auditWriter: Service;
  /** Every worker ever started, also the killed ones; `worker-1` first. */
  readonly workers: readonly Service[];
  startWorker(): Promise<Service>;
  /** SIGKILL. */
  killWorker(index: number): Promise<void>;
  stop(): Promise<void>;
}

type Stop = () => Promise<unknown>;

interface Stores {
  readonly redisUrl: string;
  readonly databaseUrl: string;
}

/** As in the images' manifests: what is soon garbage does not grow to 128 MB, nor a look at it to a pause of 20 ms. */
const YOUNG = ['--max-semi-space-size=16'];
/** And V8 cleans up when a worker's heap is 1.4 times what was in use, not twice. */
const WORKER_HEAP = [...YOUNG, '--heap-growing-percent=40'];
const WORKER_GRACE_MS = 20_000;
const TRUSTED_MS = 60_000;

async function redisStore(dir: string, given: string | undefined, stops: Stop[]): Promise<string> {
  if (given !== undefined) return given;
  const redis = await startRedis({ dir: join(dir, 'redis'), port: 6379 });
  stops.push(() => redis.stop());
  return redis.url;
}

async function postgresStore(dir: string, given: string | undefined, stops: Stop[]): Promise<string> {
  if (given !== undefined) return given;
  const postgres = await startPostgres({ dir: join(dir, 'postgres'), port: 5432 });
  stops.push(() => postgres.stop());
  return await postgres.createDatabase('signalbox', { ifMissing: true });
}

/** Waits for all, also when one fails, so that everything that started is known to `stops`. */
async function together<T>(starting: readonly Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(starting);
  const failed = settled.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
}

async function stopAll(stops: Stop[]): Promise<void> {
  const failures: unknown[] = [];
  for (let stop = stops.pop(); stop !== undefined; stop = stops.pop()) {
    await stop().catch((error: unknown) => failures.push(error));
  }
  if (failures.length > 0) throw new AggregateError(failures, 'The local stack did not stop in good order.');
}

function serviceEnv(options: StackOptions, stores: Stores): NodeJS.ProcessEnv {
  const secrets = localSecrets(options.dir);
  return {
    ENCRYPTION_KEYS: secrets.encryptionKeys,
    BOOTSTRAP_API_KEY: secrets.apiKey,
    DRAIN_SECONDS: '10',
    // Nothing balances the load here, so nobody has to notice.
    SHUTDOWN_DELAY_SECONDS: '0',
    ...process.env,
    ...options.env,
    REDIS_URL: stores.redisUrl,
    DATABASE_URL: stores.databaseUrl,
    METRICS_PORT: '0',
  };
}

function checkpointEnv({ dir, checkpoints = false }: StackOptions): NodeJS.ProcessEnv {
  if (!checkpoints) return {};
  return {
    AUDIT_SIGNING_KEY: localSecrets(dir).signingKey,
    CHECKPOINT_FILE: join(dir, 'checkpoints.ndjson'),
  };
}

/** The scheduler verifies what a new Redis holds against Postgres; until then a submission is answered with 503. */
async function untilTrusted({ url }: Service): Promise<void> {
  const ask = async (): Promise<true | undefined> =>
    /^signalbox_state_trusted 1$/m.test(await (await fetch(`${url}/metrics`)).text()) || undefined;
  await waitFor(ask, { what: `the scheduler at ${url} to have verified Redis`, timeoutMs: TRUSTED_MS });
}

async function startServices(
  options: StackOptions,
  stores: Stores,
  stops: Stop[],
): Promise<Omit<Stack, 'stop'>> {
  const logDir = join(options.dir, 'logs');
  const env = serviceEnv(options, stores);
  if (options.migrated !== true)
    await runToEnd({ name: 'migrate', entry: 'packages/audit-store/src/migrate.ts', env, logDir });

  // Stopped last to first, whichever started first: api, workers, scheduler, audit-writer.
  const running: { api?: Service; scheduler?: Service; auditWriter?: Service } = {};
  const workers: Service[] = [];
  stops.push(async () => await running.auditWriter?.stop());
  stops.push(async () => await running.scheduler?.stop());
  stops.push(
    async () => await Promise.all(workers.map((worker) => worker.stop({ graceMs: WORKER_GRACE_MS }))),
  );
  stops.push(async () => await running.api?.stop());

  const service = (name: string, own: NodeJS.ProcessEnv, flags: readonly string[] = []): Promise<Service> =>
    startService({
      name,
      entry: `services/${name.replace(/-\d+$/, '')}/src/main.ts`,
      env: own,
      flags,
      logDir,
    });
  // The worker does not need Postgres (R11), so it is not told where it is.
  const { DATABASE_URL: _, ...workerEnv } = env;
  let lastWorker = 0;
  const startWorker = async (): Promise<Service> => {
    const worker = await service(`worker-${++lastWorker}`, workerEnv, WORKER_HEAP);
    workers.push(worker);
    workers.sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true })); // worker-1 is workers[0]
    return worker;
  };
  const apiPort = await freePort(Number(env['PORT'] ?? 8080));
  const [api, scheduler, auditWriter] = await together([
    service('api', { ...env, PORT: String(apiPort) }, YOUNG).then((started) => (running.api = started)),
    service('scheduler', { ...env, ...checkpointEnv(options) }).then(
      (started) => (running.scheduler = started),
    ),
    service('audit-writer', env).then((started) => (running.auditWriter = started)),
    ...Array.from({ length: options.workers ?? 2 }, startWorker),
  ]);
  if (api === undefined || scheduler === undefined || auditWriter === undefined) {
    throw new Error('A service of the local stack did not start.');
  }
  await untilTrusted(scheduler);
  return {
    ...stores,
    apiUrl: api.url,
    apiKey: env['BOOTSTRAP_API_KEY'] ?? '',
    logDir,
    api,
    scheduler,
    auditWriter,
    workers,
    startWorker,
    killWorker: async (index) => {
      const worker = workers[index];
      if (worker === undefined)
        throw new Error(`There is no worker ${index}; ${workers.length} were started.`);
      await worker.kill();
    },
  };
}

/** Starts everything (REDIS_URL and DATABASE_URL, when set, are used instead of own servers). */
export async function startStack(options: StackOptions): Promise<Stack> {
  const unlock = await lockDir(options.dir);
  const stops: Stop[] = [async () => unlock()];
  const given = { ...process.env, ...options.env };
  try {
    const [redisUrl, databaseUrl] = await together([
      redisStore(options.dir, given['REDIS_URL'] || undefined, stops),
      postgresStore(options.dir, given['DATABASE_URL'] || undefined, stops),
    ]);
    if (redisUrl === undefined || databaseUrl === undefined)
      throw new Error('Redis or Postgres did not start.');
    const services = await startServices(options, { redisUrl, databaseUrl }, stops);
    return { ...services, stop: () => stopAll(stops) };
  } catch (error) {
    await stopAll(stops).catch((stopping: unknown) => console.error(stopping));
    throw error;
  }
}

/** The services of Signalbox on this machine, over stores that are there. */
import { join } from 'node:path';
import { freePort } from './ports.ts';
import { runToEnd, type Service, startService } from './process.ts';
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

export interface Stores {
  readonly redisUrl: string;
  readonly databaseUrl: string;
}

export interface Services extends Stores {
  readonly apiUrl: string;
  readonly apiKey: string;
  readonly logDir: string;
  readonly api: Service;
  readonly scheduler: Service;
  readonly auditWriter: Service;
  /** Every worker ever started, also the killed ones; `worker-1` first. */
  readonly workers: readonly Service[];
  startWorker(): Promise<Service>;
  /** SIGKILL. */
  killWorker(index: number): Promise<void>;
}

export type Stop = () => Promise<unknown>;

/** As in the images' manifests: what is soon garbage does not grow to 128 MB, nor a look at it to a pause of 20 ms. */
const API_HEAP = ['--max-semi-space-size=16'];
/** A run is over sooner than 32 MB are full: with 16 a worker's time goes to looking at it twice, some 5 % of it. */
const WORKER_HEAP = ['--max-semi-space-size=32'];
const WORKER_GRACE_MS = 20_000;
const TRUSTED_MS = 60_000;

/** Waits for all, also when one fails, so that everything that started is known to `stops`. */
export async function together<T>(starting: readonly Promise<T>[]): Promise<T[]> {
  const settled = await Promise.allSettled(starting);
  const failed = settled.find((result) => result.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
  return settled.flatMap((result) => (result.status === 'fulfilled' ? [result.value] : []));
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

/** Workers as they are asked for; all are stopped together. */
class Workers {
  readonly all: Service[] = [];
  readonly #start: (name: string) => Promise<Service>;
  #last = 0;

  constructor(start: (name: string) => Promise<Service>) {
    this.#start = start;
  }

  async start(): Promise<Service> {
    const worker = await this.#start(`worker-${++this.#last}`);
    this.all.push(worker);
    this.all.sort((a, b) => a.name.localeCompare(b.name, 'en', { numeric: true })); // worker-1 is all[0]
    return worker;
  }

  async kill(index: number): Promise<void> {
    const worker = this.all[index];
    if (worker === undefined)
      throw new Error(`There is no worker ${index}; ${this.all.length} were started.`);
    await worker.kill();
  }

  async stop(): Promise<void> {
    await Promise.all(this.all.map((worker) => worker.stop({ graceMs: WORKER_GRACE_MS })));
  }
}

type Start = (name: string, env: NodeJS.ProcessEnv, flags?: readonly string[]) => Promise<Service>;

/** `worker-2` is a worker. */
const starter =
  (logDir: string): Start =>
  (name, env, flags = []) =>
    startService({ name, entry: `services/${name.replace(/-\d+$/, '')}/src/main.ts`, env, flags, logDir });

export async function startServices(options: StackOptions, stores: Stores, stops: Stop[]): Promise<Services> {
  const logDir = join(options.dir, 'logs');
  const env = serviceEnv(options, stores);
  if (options.migrated !== true)
    await runToEnd({ name: 'migrate', entry: 'packages/audit-store/src/migrate.ts', env, logDir });

  const service = starter(logDir);
  // The worker does not need Postgres (R11), so it is not told where it is.
  const { DATABASE_URL: _, ...workerEnv } = env;
  const workers = new Workers((name) => service(name, workerEnv, WORKER_HEAP));
  // Stopped last to first, whichever started first: api, workers, scheduler, audit-writer.
  const running: { api?: Service; scheduler?: Service; auditWriter?: Service } = {};
  stops.push(
    async () => await running.auditWriter?.stop(),
    async () => await running.scheduler?.stop(),
    () => workers.stop(),
    async () => await running.api?.stop(),
  );
  const PORT = String(await freePort(Number(env['PORT'] ?? 8080)));
  const [api, scheduler, auditWriter] = await together([
    service('api', { ...env, PORT }, API_HEAP).then((started) => (running.api = started)),
    service('scheduler', { ...env, ...checkpointEnv(options) }).then(
      (started) => (running.scheduler = started),
    ),
    service('audit-writer', env).then((started) => (running.auditWriter = started)),
    ...Array.from({ length: options.workers ?? 2 }, () => workers.start()),
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
    workers: workers.all,
    startWorker: () => workers.start(),
    killWorker: (index) => workers.kill(index),
  };
}

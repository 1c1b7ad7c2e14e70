/**
 * The processes of a chaos run, and who restarts them. Each has its own proxy to Redis and to Postgres. A process
 * that ends, for whatever reason, is started again, as a Kubernetes deployment would.
 * States of a member: starting -> running -> starting -> ... -> stopped.
 */
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Exit, freePort, type Service, startService, waitFor } from '@signalbox/local';
import { startTcpProxy, type TcpProxy } from './tcp-proxy.ts';

export type Kind = 'api' | 'scheduler' | 'audit-writer' | 'worker';

export interface Member {
  readonly name: string;
  readonly kind: Kind;
  readonly redis: TcpProxy;
  readonly postgres: TcpProxy;
  /** Null while it starts. */
  service(): Service | null;
  /** How each of its processes ended, and whether that was asked for. */
  readonly ends: readonly (Exit & { readonly asked: boolean })[];
  /** Added to its environment from the next start on. */
  setEnv(env: Readonly<Record<string, string>>): void;
  kill(): Promise<void>;
  /** SIGSTOP; what it returns is SIGCONT. */
  freeze(): () => void;
  /** SIGTERM, as soon as it can hear it; resolves with how it ended, `killed` when another fault killed it meanwhile. */
  terminate(): Promise<Exit | 'killed'>;
  /** Resolves once it is ready. */
  ready(timeoutMs?: number): Promise<Service>;
  stop(): Promise<void>;
}

export interface FleetOptions {
  readonly counts: Readonly<Record<Kind, number>>;
  readonly redisPort: number;
  readonly databaseUrl: string;
  readonly env: Readonly<Record<string, string>>;
  readonly logDir: string;
  readonly random: () => number;
}

export interface Fleet {
  readonly members: readonly Member[];
  of(kind: Kind): Member[];
  stop(): Promise<void>;
}

/** A busy machine starts ten processes at once, and a process that starts while its store is away waits for it. */
const READY_MS = 120_000;
const TERMINATE_MS = 30_000;
const RESTART_MS = 200;

interface Site {
  readonly name: string;
  readonly kind: Kind;
  readonly env: Readonly<Record<string, string>>;
  readonly logDir: string;
  readonly redis: TcpProxy;
  readonly postgres: TcpProxy;
}

class Supervised implements Member {
  readonly name: string;
  readonly kind: Kind;
  readonly redis: TcpProxy;
  readonly postgres: TcpProxy;
  readonly ends: (Exit & { asked: boolean })[] = [];
  readonly #site: Site;
  readonly #running: Promise<void>;
  #extra: Readonly<Record<string, string>> = {};
  #service: Service | null = null;
  #asked = false;
  #killed: Service | null = null;
  #stopping = false;
  #thawed: Promise<void> = Promise.resolve();

  constructor(site: Site) {
    ({ name: this.name, kind: this.kind, redis: this.redis, postgres: this.postgres } = site);
    this.#site = site;
    this.#running = this.#keepRunning();
  }

  service(): Service | null {
    return this.#service;
  }

  setEnv(env: Readonly<Record<string, string>>): void {
    this.#extra = env;
  }

  async kill(): Promise<void> {
    this.#asked = true;
    this.#killed = this.#service;
    await this.#service?.kill();
  }

  freeze(): () => void {
    const service = this.#service;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#thawed = promise;
    service?.signal('SIGSTOP');
    return () => {
      service?.signal('SIGCONT');
      resolve();
    };
  }

  async terminate(): Promise<Exit | 'killed'> {
    await this.#thawed;
    const service = this.#service;
    if (service === null) throw new Error(`${this.name} does not run`);
    this.#asked = true;
    const exit = await service.stop({ graceMs: TERMINATE_MS });
    return this.#killed === service ? 'killed' : exit;
  }

  ready(timeoutMs = READY_MS): Promise<Service> {
    return waitFor(() => this.#service ?? undefined, { what: `${this.name} to be ready`, timeoutMs });
  }

  async stop(): Promise<void> {
    this.#stopping = true;
    await this.#service?.stop({ graceMs: TERMINATE_MS });
    await this.#running;
    await Promise.all([this.redis.stop(), this.postgres.stop()]);
  }

  async #keepRunning(): Promise<void> {
    while (!this.#stopping) {
      try {
        this.#service = await this.#start();
        this.ends.push({ ...(await this.#service.exited), asked: this.#asked || this.#stopping });
      } catch {
        this.ends.push({ code: null, signal: null, asked: this.#asked });
      }
      this.#service = null;
      this.#asked = false;
      await sleep(RESTART_MS);
    }
  }

  #start(): Promise<Service> {
    const { name, kind, logDir, env } = this.#site;
    const entry = `services/${kind}/src/main.ts`;
    return startService({ name, entry, logDir, env: { ...env, ...this.#extra }, readyTimeoutMs: READY_MS });
  }
}

const environment = (options: FleetOptions, kind: Kind, ports: { redis: number; postgres: number }) => {
  const database = new URL(options.databaseUrl);
  database.port = String(ports.postgres);
  return {
    ...Object.fromEntries(['PATH', 'HOME'].map((name) => [name, process.env[name] ?? ''])),
    ...options.env,
    REDIS_URL: `redis://127.0.0.1:${ports.redis}`,
    // The worker does not need Postgres (R11), so it is not told where it is.
    ...(kind === 'worker' ? {} : { DATABASE_URL: database.href }),
    METRICS_PORT: '0',
  };
};

export const startFleet = async (options: FleetOptions): Promise<Fleet> => {
  const { counts, random, logDir } = options;
  const names = Object.entries(counts).flatMap(([kind, count]) =>
    Array.from({ length: count }, (_, n) => ({ kind: kind as Kind, name: `${kind}-${n + 1}` })),
  );
  const postgresPort = Number(new URL(options.databaseUrl).port);
  const members: Member[] = [];
  for (const { kind, name } of names) {
    const redis = await startTcpProxy(options.redisPort, random);
    const postgres = await startTcpProxy(postgresPort, random);
    const env = environment(options, kind, { redis: redis.port, postgres: postgres.port });
    const port = kind === 'api' ? { PORT: String(await freePort()) } : {};
    members.push(new Supervised({ name, kind, logDir, redis, postgres, env: { ...env, ...port } }));
  }
  const stop = async (): Promise<void> => {
    for (const kind of ['api', 'worker', 'scheduler', 'audit-writer'] as const)
      await Promise.all(members.filter((member) => member.kind === kind).map((member) => member.stop()));
  };
  try {
    await Promise.all(members.map((member) => member.ready()));
  } catch (error) {
    void stop();
    throw new Error(`The fleet did not start; see ${join(logDir, '*.log')}`, { cause: error });
  }
  return { members, of: (kind) => members.filter((member) => member.kind === kind), stop };
};

/** Services in several copies, each of which can be replaced as a rollout does: a new one is ready before the old one stops. */
import { join } from 'node:path';
import { type Exit, type Service, startService, temporaryDir } from '@signalbox/local';
import type { System } from './stack.ts';

export const SERVICES = ['api', 'audit-writer', 'scheduler', 'worker'] as const;
export type ServiceName = (typeof SERVICES)[number];

export interface Replacement {
  readonly service: ServiceName;
  readonly old: string;
  readonly exit: Exit;
  /** From SIGTERM to the exit. */
  readonly stopMs: number;
}

export interface Fleet {
  /** Replaces each copy that runs now, one after the other. */
  roll(service: ServiceName): Promise<Replacement[]>;
  stop(): Promise<void>;
}

export interface FleetOptions {
  /** Told of each new copy when it is ready, before the old one is told to stop. */
  readonly onStarted: (service: ServiceName, copy: Service) => void;
  /** Of each service; default 2. */
  readonly copies?: 1 | 2;
  /** What a copy that starts now gets beside the environment of the system. */
  readonly env?: () => Readonly<Record<string, string>>;
}

const GRACE_MS = 30_000;

/** Two copies of everything: those of the stack, and one more where the stack has one; or those of the stack alone. */
export const startFleet = async (
  system: System,
  { onStarted, copies = 2, env: more = () => ({}) }: FleetOptions,
): Promise<Fleet> => {
  const { stack, env } = system;
  const logDir = join(await temporaryDir(), 'logs');
  const { DATABASE_URL: databaseUrl, ...shared } = env;
  const all: Record<ServiceName, readonly Service[]> = {
    api: [stack.api],
    'audit-writer': [stack.auditWriter],
    scheduler: [stack.scheduler],
    worker: [...stack.workers],
  };
  const own: Service[] = [];
  const start = async (service: ServiceName): Promise<Service> => {
    const copy = await startService({
      name: `${service}-${own.length + 10}`,
      entry: `services/${service}/src/main.ts`,
      env: {
        ...process.env,
        ...shared,
        ...more(),
        // The worker does not know Postgres (R11).
        ...(service === 'worker' ? {} : { DATABASE_URL: databaseUrl }),
        PORT: '0',
        METRICS_PORT: '0',
      },
      logDir,
    });
    own.push(copy);
    onStarted(service, copy);
    return copy;
  };
  const replace = async (service: ServiceName, old: Service): Promise<Replacement> => {
    const fresh = await start(service);
    const from = performance.now();
    const exit = await old.stop({ graceMs: GRACE_MS });
    all[service] = [...all[service].filter((copy) => copy !== old), fresh];
    return { service, old: old.name, exit, stopMs: Math.round(performance.now() - from) };
  };
  await Promise.all(
    (copies === 1 ? [] : (['api', 'audit-writer', 'scheduler'] as const)).map(async (service) => {
      all[service] = [...all[service], await start(service)];
    }),
  );
  return {
    roll: async (service) => {
      const done: Replacement[] = [];
      for (const old of all[service]) done.push(await replace(service, old));
      return done;
    },
    stop: async () => void (await Promise.all(own.map((copy) => copy.stop({ graceMs: GRACE_MS })))),
  };
};

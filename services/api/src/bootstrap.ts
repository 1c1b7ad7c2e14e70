import type { Logger, Clock } from '@signalbox/runtime';
import { backoffMs } from '@signalbox/runtime';
import { type KeyDeps, mirrorKey, storeKey } from './api-keys.ts';

/**
 * The first key of a deployment. Owns two loops that try until they succeed or the process stops: Redis, on
 * which readiness waits, and Postgres, on which nothing waits (the api is ready with Redis alone).
 */
export interface BootstrapDeps extends KeyDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly stopping: AbortSignal;
}

export interface Bootstrap {
  /** Rejects until the key works. */
  check(): Promise<void>;
  /** Writes the mirror again, for a Redis that came back empty. */
  again(): void;
}

const RETRY = { baseMs: 100, capMs: 5000, random: Math.random };

const untilDone = async (
  { clock, logger, stopping }: BootstrapDeps,
  what: string,
  work: () => Promise<void>,
): Promise<void> => {
  for (let attempt = 1; !stopping.aborted; attempt += 1) {
    try {
      return await work();
    } catch (error) {
      logger.warn('bootstrap waits', { for: what, error });
      await clock.sleep(backoffMs(attempt, RETRY), stopping).catch(() => undefined);
    }
  }
};

export const startBootstrap = (deps: BootstrapDeps, secret: string | undefined): Bootstrap => {
  if (secret === undefined) return { check: () => Promise.resolve(), again: () => undefined };
  const key = { tenantId: 'default', scopes: ['admin'], secret } as const;
  let works = false;
  const mirror = async (): Promise<void> => {
    await untilDone(deps, 'Redis', () => mirrorKey(deps, key));
    works = true;
  };
  void mirror();
  void untilDone(deps, 'Postgres', () => storeKey(deps, key));
  return {
    check: () =>
      works ? Promise.resolve() : Promise.reject(new Error('BOOTSTRAP_API_KEY is not written yet')),
    again: () => void mirror(),
  };
};

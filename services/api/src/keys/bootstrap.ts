import { findApiKeyByHash } from '@signalbox/audit-store';
import { backoffMs, type Clock, type Logger, pause } from '@signalbox/runtime';
import { bySystem, recordFact, type TrailDeps } from '../audit/admin-trail.ts';
import { type KeyDeps, keyOf, type KnownKey, mirrorKey, mirrorRevoked, storeKey } from './api-keys.ts';

/**
 * The first key of a deployment. Owns two loops that try until they succeed or the process stops: Redis, on which
 * readiness waits, and Postgres, on which nothing waits (the api is ready with Redis alone). A value that was revoked
 * stays revoked, as Postgres tells.
 */

export interface BootstrapDeps extends KeyDeps, TrailDeps {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly stopping: AbortSignal;
}

export interface Bootstrap {
  /** Rejects until the key works. */
  check(): Promise<void>;
  /** Writes it again, for a Redis that came back empty. */
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
      if (stopping.aborted) return;
      logger.warn(`BOOTSTRAP_API_KEY cannot be written to ${what} yet`, { error });
      await pause(clock, backoffMs(attempt, RETRY), stopping);
    }
  }
};

/** At most one loop at a time: asked for again meanwhile, it does its work once more when it is through. */
const oneLoop = (deps: BootstrapDeps, what: string, work: () => Promise<void>): (() => void) => {
  let running = false;
  let asked = false;
  const run = async (): Promise<void> => {
    running = true;
    while (asked && !deps.stopping.aborted) {
      asked = false;
      await untilDone(deps, what, work);
    }
    running = false;
  };
  return () => {
    asked = true;
    if (!running) void run();
  };
};

/** Its making is written down before it is stored; by each api that starts meanwhile, and all mean the same event. */
const noteKey = async (deps: BootstrapDeps, { tenantId, secret, scopes }: KnownKey): Promise<void> => {
  const { id, hash } = keyOf(secret);
  if ((await findApiKeyByHash(deps.db, hash)) !== null) return;
  const data = { key_id: id, name: id, scopes: [...scopes], expires_at: null };
  const by = { ...bySystem(tenantId, 'bootstrap'), eventId: id.replace('key_', 'evt_') };
  await recordFact(deps, by, { type: 'key.created', data });
};

export const startBootstrap = (deps: BootstrapDeps, secret: string | undefined): Bootstrap => {
  if (secret === undefined) return { check: () => Promise.resolve(), again: () => undefined };
  const key = { tenantId: 'default', scopes: ['admin'], secret } as const;
  let works = false;
  const mirror = oneLoop(deps, 'Redis', async () => {
    await mirrorKey(deps, key);
    works = true;
  });
  const store = oneLoop(deps, 'Postgres', async () => {
    await noteKey(deps, key);
    const stored = await storeKey(deps, key);
    if (stored.revokedAt === null) return;
    await mirrorRevoked(deps, stored);
    deps.logger.error('BOOTSTRAP_API_KEY was revoked and opens nothing; choose another value');
  });
  const again = (): void => {
    mirror();
    store();
  };
  again();
  return {
    check: () =>
      works ? Promise.resolve() : Promise.reject(new Error('BOOTSTRAP_API_KEY is not written yet')),
    again,
  };
};

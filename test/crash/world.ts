import { randomBytes, randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { startHttpBarrier, type HttpGate } from '../support/barrier/http-barrier.ts';
import { startSystem, type System } from '../e2e/stack.ts';
import { Crashes } from './crashes.ts';
import { Fleet } from './fleet.ts';
import type { ServiceName } from './member.ts';
import { tagOf } from './seen.ts';

/**
 * Signalbox with its workers (and, where rows ask for it, its other services) behind barriers, a provider and a
 * tool's server that keep books, and the healthy rest of the system beside them.
 */
const LEASE_SECONDS = 15;
/** What is left of the lease of a worker that was killed. */
const DEAD_LEASE_MS = 1000;
const IDLE_SLOTS = 100;
/** A leader leads for a third of that. */
const LEADER_ENV = { LEASE_SECONDS: '3', HIBERNATE_AFTER_SECONDS: '2' };

export interface ToolRequest {
  readonly tag: string;
  readonly idempotencyKey: string;
}

export interface World {
  readonly system: System;
  readonly crashes: Crashes;
  readonly toolUrl: string;
  readonly toolRequests: readonly ToolRequest[];
  fleet(service: ServiceName): Fleet;
  stop(): Promise<void>;
}

const startToolServer = async (requests: ToolRequest[]) => {
  const server = createServer((req, res) => {
    const tag = tagOf({ path: req.url ?? '', body: '' }) ?? '';
    requests.push({ tag, idempotencyKey: String(req.headers['idempotency-key']) });
    req.resume();
    res.end('done');
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, stop: async () => void server.close() };
};

const leads = (service: ServiceName): boolean => service === 'scheduler' || service === 'audit-writer';

/** How many of each service run behind barriers. */
export type Sizes = Readonly<Partial<Record<ServiceName, number>>>;

export const startWorld = async (sizes: Sizes): Promise<World> => {
  const system = await startSystem({
    workers: 0,
    leaseSeconds: LEASE_SECONDS,
    env: {
      ENCRYPTION_KEYS: `k1:${randomBytes(32).toString('base64')}`,
      BOOTSTRAP_API_KEY: `sb_${randomUUID()}`,
    },
  });
  const fleets = new Map<ServiceName, Fleet>();
  const fleet = (service: ServiceName): Fleet => {
    const found = fleets.get(service);
    if (found === undefined) throw new Error(`no ${service} runs behind barriers`);
    return found;
  };
  const { redis, root } = system.partition;
  // As if many idle workers were there: a run is admitted by the script that makes it runnable, and by no other.
  await redis.hset(`${root}:slots`, 'idle', IDLE_SLOTS);
  const crashes = new Crashes(fleet, (leaseId) =>
    redis.zadd(`${root}:leases`, 'XX', Date.now() + DEAD_LEASE_MS, leaseId),
  );
  const gate =
    (via: 'model' | 'tool'): HttpGate =>
    (request, at) => {
      const member = crashes.holderOf(tagOf(request));
      return member === null ? undefined : crashes.judge({ via, at, request, member });
    };
  const toolRequests: ToolRequest[] = [];
  const toolServer = await startToolServer(toolRequests);
  const models = await startHttpBarrier(system.provider.url, gate('model'));
  const tools = await startHttpBarrier(toolServer.url, gate('tool'));
  const { DATABASE_URL: databaseUrl = '', ...env } = {
    ...system.env,
    ANTHROPIC_BASE_URL: models.url,
    OPENAI_BASE_URL: `${models.url}/v1`,
    HTTP_TOOL_ALLOW: `127.0.0.1:${tools.port}`,
    WORKER_CONCURRENCY: '1',
  };
  for (const [service, size] of Object.entries(sizes) as [ServiceName, number][]) {
    // The worker does not need Postgres (R11).
    const own = {
      ...env,
      ...(service === 'worker' ? {} : { DATABASE_URL: databaseUrl }),
      ...(leads(service) ? LEADER_ENV : {}),
    };
    const { logDir } = system.stack;
    fleets.set(service, new Fleet({ service, size, env: own, logDir, judge: crashes.judge }));
  }
  await Promise.all(Array.from(fleets.values(), (each) => each.start()));
  if (sizes.scheduler !== undefined) await system.stack.scheduler.stop();
  if (sizes['audit-writer'] !== undefined) await system.stack.auditWriter.stop();
  return {
    system,
    crashes,
    toolUrl: tools.url,
    toolRequests,
    fleet,
    stop: async () => {
      for (const each of fleets.values()) await each.stop();
      await Promise.all([models.close(), tools.close(), toolServer.stop()]);
      await system.stop();
    },
  };
};

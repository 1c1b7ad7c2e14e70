/**
 * After the last healing: everything comes to rest, and everybody still works (liveness, "tail-ok"). All that was
 * accepted ends, what is to be stored is stored, the queue is empty, and every worker ends runs.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { isTerminal, RunStatus } from '@signalbox/contracts';
import { waitFor } from '@signalbox/local';
import { runKey } from '@signalbox/run-state';
import { createClient } from '../e2e/client.ts';
import type { World } from './world.ts';

export interface Rest {
  readonly tookMs: number;
  /** What did not come to rest in time. */
  readonly open: readonly string[];
  /** Workers that ended runs after the last healing, of all. */
  readonly working: number;
  readonly workers: number;
  /** Keys that Redis had when nothing was open any more. */
  readonly keys: number;
  /** Those of them that there are only for runs that go on. */
  readonly left: readonly string[];
}

const REST_MS = 90_000;
/** Room that was promised is kept for 10 s. */
const LEFT_MS = 30_000;
const PROBES = 12;
const QUEUE = 'activations';

const acceptedRuns = ({ history }: World): string[] =>
  history.submissions.flatMap(({ runIds }) => [...runIds]);

/** Not ended: live in Redis, or live in Postgres. */
const liveRuns = async (world: World): Promise<string[]> => {
  const { partition, db } = world;
  const ids = acceptedRuns(world);
  const pipeline = partition.redis.pipeline();
  for (const id of ids) pipeline.hget(runKey(partition, id), 'status');
  const replies = (await pipeline.exec()) ?? [];
  const hot = ids.filter((_, n) => {
    const status = RunStatus.safeParse(replies[n]?.[1]);
    return status.success && !isTerminal(status.data);
  });
  const live = db.selectFrom('runs').select('id').where('status', 'in', ['queued', 'running', 'waiting']);
  return [...new Set([...hot, ...(await live.execute()).map(({ id }) => id)])];
};

const unsettled = async (world: World): Promise<string[]> => {
  const { redis, root } = world.partition;
  const [waiting, active, stream] = await Promise.all([
    redis.llen(`${root}:${QUEUE}:wait`),
    redis.llen(`${root}:${QUEUE}:active`),
    redis.xlen(`${root}:audit`),
  ]);
  const [pending] = (await redis.xpending(`${root}:audit`, 'audit-writer')) as [number];
  const counts = { waiting, active, 'not stored': stream, 'taken by a writer': pending };
  const left = Object.entries(counts).flatMap(([what, count]) => (count > 0 ? [`${count} ${what}`] : []));
  return [...(await liveRuns(world)), ...left];
};

const finished = async (url: string): Promise<number> => {
  const text = await (await fetch(`${url}/metrics`)).text();
  const lines = text.split('\n').filter((line) => line.startsWith('signalbox_runs_finished_total{'));
  return lines.reduce((sum, line) => sum + Number(line.split(' ').at(-1)), 0);
};

/** Short runs until every worker has ended one. */
const probe = async (world: World): Promise<number> => {
  const workers = await Promise.all(world.fleet.of('worker').map((member) => member.ready()));
  const before = await Promise.all(workers.map(({ url }) => finished(url)));
  const api = createClient(world.apiUrls[0] ?? '', world.keys.north);
  const worked = async (): Promise<number> => {
    const now = await Promise.all(workers.map(({ url }) => finished(url)));
    return now.filter((count, n) => count > (before[n] ?? 0)).length;
  };
  await waitFor(
    async () => {
      const agent = { model: 'mock/script' };
      const input = JSON.stringify({ turns: [{ delay_ms: 300, text: 'still here' }] });
      await Promise.all(Array.from({ length: PROBES }, () => api.submit({ agent, input })));
      await sleep(700);
      return (await worked()) === workers.length ? true : undefined;
    },
    { what: 'every worker to end a run', timeoutMs: 30_000 },
  ).catch(() => undefined);
  return worked();
};

/** Indexes (lua/lib/base.lua) and notes: what they name has not ended. */
const OF_LIVE_RUNS =
  /:(?:(?:ready|ready_user|held_back|busy|busy_user|queued|waiters|lease):.+|turns|admitted|promised|pressured|capped_tenants|capped_users|running|parked|asleep|loading|unrestored|timers|aborting|scopes|run:[^:]+:inbox)$/;

const lookForLeft = async ({ partition: { redis, root } }: World): Promise<Pick<Rest, 'keys' | 'left'>> => {
  const keys = (await redis.keys(`${root}:*`)).map((key) => key.slice(root.length));
  const scopes = keys.filter((key) => key.startsWith(':spend:'));
  const promised = await Promise.all(scopes.map((key) => redis.hget(`${root}${key}`, 'promised')));
  const kept = scopes.filter((_, n) => Number(promised[n] ?? 0) !== 0);
  const live = keys.filter((key) => OF_LIVE_RUNS.test(key));
  return { keys: keys.length, left: [...live, ...kept.map((key) => `${key} (room is kept)`)] };
};

/** Repair lets go of some of it only with its next rounds. */
const findLeft = async (world: World): Promise<Pick<Rest, 'keys' | 'left'>> => {
  let found: Pick<Rest, 'keys' | 'left'> = { keys: 0, left: [] };
  await waitFor(
    async () => {
      found = await lookForLeft(world);
      return found.left.length === 0 ? true : undefined;
    },
    { what: 'nothing to be left in Redis of what has ended', timeoutMs: LEFT_MS, everyMs: 200 },
  ).catch(() => undefined);
  return found;
};

const settle = async (world: World): Promise<string[]> => {
  let open: string[] = [];
  await waitFor(
    async () => {
      open = await unsettled(world).catch((error: unknown) => [String(error)]);
      return open.length === 0 ? true : undefined;
    },
    { what: 'everything to end', timeoutMs: REST_MS, everyMs: 200 },
  ).catch(() => undefined);
  return open;
};

export const comeToRest = async (world: World): Promise<Rest> => {
  const startedAt = performance.now();
  await Promise.all(world.fleet.members.map((member) => member.ready()));
  const open = await settle(world);
  const tookMs = performance.now() - startedAt;
  const working = open.length > 0 ? 0 : await probe(world);
  const stillOpen = [...open, ...(await settle(world))].slice(0, 20);
  const { keys, left } = stillOpen.length > 0 ? { keys: 0, left: [] } : await findLeft(world);
  return { tookMs, open: stillOpen, working, workers: world.fleet.of('worker').length, keys, left };
};

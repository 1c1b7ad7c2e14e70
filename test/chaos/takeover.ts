/** Whether the runs of a worker that fell silent go on elsewhere, and how soon: watched from outside, by their epochs. */
import { setTimeout as sleep } from 'node:timers/promises';
import { type Partition, runKey } from '@signalbox/run-state';
import { CAPPED } from './plan.ts';
import { LEASE_MS, type World } from './world.ts';

interface Lease {
  readonly deadline: number;
  readonly runs: readonly string[];
}

type Leases = ReadonlyMap<string, Lease>;

/** All leases, and what is held under them, at one instant. */
const readLeases = async ({ redis, root }: Partition): Promise<Leases> => {
  const flat = await redis.zrange(`${root}:leases`, 0, '-1', 'WITHSCORES');
  const ids = flat.filter((_, i) => i % 2 === 0);
  const runs = await Promise.all(ids.map((id) => redis.smembers(`${root}:lease:${id}`)));
  return new Map(ids.map((id, n) => [id, { deadline: Number(flat[2 * n + 1]), runs: runs[n] ?? [] }]));
};

interface Watched {
  readonly runId: string;
  readonly epoch: number;
}

const stateOf = async (partition: Partition, runId: string) => {
  const [epoch, status] = await partition.redis.hmget(runKey(partition, runId), 'epoch', 'status');
  return { epoch: Number(epoch ?? 0), status: status ?? null };
};

export interface Takeover {
  /** Runs that the silent worker held. */
  readonly held: number;
  /** Ms from its silence to the next owner, of those that got one. */
  readonly waits: readonly number[];
  /** Not claimed by anybody within the time. */
  readonly stranded: readonly string[];
}

const POLL_MS = 20;
/** A live worker renews five times in a lease. */
const SILENT_MS = LEASE_MS * 0.6;
const ENDED = ['succeeded', 'failed', 'aborted'];

/** Waits until the runs of leases that stopped being renewed at `silentAt` are with another owner, or have ended. */
const follow = async (
  { partition }: World,
  runs: readonly Watched[],
  { silentAt, patienceMs }: { silentAt: number; patienceMs: number },
): Promise<Takeover> => {
  const left = new Map(runs.map((run) => [run.runId, run]));
  const waits: number[] = [];
  while (left.size > 0 && performance.now() - silentAt < patienceMs) {
    for (const { runId, epoch } of left.values()) {
      const now = await stateOf(partition, runId).catch(() => null);
      if (now === null) continue;
      // Waiting for something, or lost with Redis: nobody has to take it.
      const idle = now.status === null || now.status === 'waiting' || ENDED.includes(now.status);
      if (now.epoch > epoch) waits.push(performance.now() - silentAt);
      else if (!idle) continue;
      left.delete(runId);
    }
    await sleep(POLL_MS);
  }
  return { held: runs.length, waits, stranded: [...left.keys()] };
};

/** `silence` makes one worker fall silent. What it held is found by the lease that is not renewed any more. */
export const watchTakeover = async (
  world: World,
  silence: () => Promise<void>,
  patienceMs: number,
): Promise<() => Promise<Takeover>> => {
  const { partition } = world;
  await silence();
  const silentAt = performance.now();
  const before = await readLeases(partition).catch((): Leases => new Map());
  const epochs = new Map<string, number>();
  for (const runId of [...before.values()].flatMap(({ runs }) => runs))
    epochs.set(runId, (await stateOf(partition, runId).catch(() => ({ epoch: 0 }))).epoch);
  // A run of a tenant at its cap gives its place to another, and waits in line for the next.
  const inLine = new Set(await partition.redis.smembers(`${partition.root}:busy:${CAPPED}`).catch(() => []));
  const following = (async (): Promise<Takeover> => {
    await sleep(SILENT_MS);
    const after = await readLeases(partition).catch((): Leases => new Map());
    const silent = [...before].filter(([id, { deadline }]) => (after.get(id)?.deadline ?? 0) <= deadline);
    const runs = silent
      .flatMap(([, lease]) => lease.runs.map((runId) => ({ runId, epoch: epochs.get(runId) ?? 0 })))
      .filter(({ runId }) => !inLine.has(runId));
    return follow(world, runs, { silentAt, patienceMs });
  })();
  return () => following;
};

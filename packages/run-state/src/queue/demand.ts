import { z } from 'zod';
import type { Partition } from '../redis/partition.ts';
import { runScript } from '../redis/scripts.ts';

/** What a scaler and a dashboard need to know of one partition. */
export interface Demand {
  /** Queued and active, without what a concurrency cap or pressure keeps back: what workers are needed for. */
  readonly runnable: number;
  /** Queued, of normal or low priority. */
  readonly waiting: number;
  /** Queued, of high priority. */
  readonly prioritized: number;
  readonly active: number;
  readonly parked: number;
  /** Parked with a due time. */
  readonly delayed: number;
  /** Of those queued that no concurrency cap keeps back. */
  readonly oldestWaitingSeconds: number;
  readonly workers: number;
  readonly slots: number;
  readonly auditBacklog: number;
  /** 0 to 3 (R9); see lua/lib/pressure.lua. */
  readonly pressureLevel: number;
}

/** Whether another run could use the slot of one that is at work: in a ready list, or given to the queue. */
export const othersWait = async (
  { redis, root }: Partition,
  { tenantId, userId }: { tenantId: string; userId: string | null },
): Promise<boolean> => {
  const waiting = await Promise.all([
    redis.exists(`${root}:turns`, `${root}:ready:${tenantId}`),
    // Those that are claimed lie at +inf.
    redis.zcount(`${root}:admitted`, '-inf', '(+inf'),
    userId === null ? 0 : redis.exists(`${root}:held_back:${tenantId}:${userId}`),
  ]);
  return waiting.some((count) => count > 0);
};

const Numbers = z.array(z.coerce.number());

/** Throws `state_unavailable`. */
export const readDemand = async (partition: Partition, nowMs: number): Promise<Demand> => {
  const [
    high = 0,
    normal = 0,
    low = 0,
    active = 0,
    parked = 0,
    delayed = 0,
    workers = 0,
    slots = 0,
    auditBacklog = 0,
    oldestMs = 0,
    keptBack = 0,
    pressureLevel = 0,
  ] = Numbers.parse(await runScript(partition, 'demand', []));
  return {
    runnable: high + normal + low + active - keptBack,
    waiting: normal + low,
    prioritized: high,
    active,
    parked,
    delayed,
    oldestWaitingSeconds: oldestMs === 0 ? 0 : Math.max(0, (nowMs - oldestMs) / 1000),
    workers,
    slots,
    auditBacklog,
    pressureLevel,
  };
};

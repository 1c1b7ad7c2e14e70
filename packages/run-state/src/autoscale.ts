import type { Partition } from './partition.ts';

/** What a scaler and a dashboard need to know of one partition. */
export interface Demand {
  /** Queued, of normal or low priority. */
  readonly waiting: number;
  /** Queued, of high priority. */
  readonly prioritized: number;
  readonly active: number;
  readonly parked: number;
  /** Parked with a due time. */
  readonly delayed: number;
  readonly oldestWaitingSeconds: number;
  readonly workers: number;
  readonly slots: number;
  readonly auditBacklog: number;
}

const oldestOf = (replies: readonly unknown[]): number =>
  Math.min(
    ...replies.map((reply) =>
      Array.isArray(reply) && reply.length === 2 ? Number(reply[1]) : Number.POSITIVE_INFINITY,
    ),
  );

export const readDemand = async (partition: Partition, nowMs: number): Promise<Demand> => {
  const key = (name: string): string => `${partition.root}:${name}`;
  const reply = await partition.redis
    .pipeline()
    .zcard(key('queued:0'))
    .zcard(key('queued:1'))
    .zcard(key('queued:2'))
    .zcard(key('running'))
    .zcard(key('parked'))
    .zcard(key('timers'))
    .hvals(key('slots'))
    .xlen(key('audit'))
    .zrange(key('queued:0'), 0, '0', 'WITHSCORES')
    .zrange(key('queued:1'), 0, '0', 'WITHSCORES')
    .zrange(key('queued:2'), 0, '0', 'WITHSCORES')
    .exec();
  const values = (reply ?? []).map(([error, value]) => {
    if (error !== null) throw error;
    return value;
  });
  const [high, normal, low, active, parked, delayed] = values.slice(0, 6).map(Number);
  const slots = (values[6] as string[]).map(Number);
  const oldest = oldestOf(values.slice(8));
  return {
    waiting: (normal ?? 0) + (low ?? 0),
    prioritized: high ?? 0,
    active: active ?? 0,
    parked: parked ?? 0,
    delayed: delayed ?? 0,
    oldestWaitingSeconds: Number.isFinite(oldest) ? Math.max(0, (nowMs - oldest) / 1000) : 0,
    workers: slots.length,
    slots: slots.reduce((a, b) => a + b, 0),
    auditBacklog: Number(values[7]),
  };
};

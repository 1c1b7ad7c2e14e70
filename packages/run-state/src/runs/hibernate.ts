/**
 * Runs that are parked for long leave next to nothing in Redis (Read; lib/sleep.lua has the states).
 * Whoever puts them to sleep has asked Postgres first; whoever loads them reads them there.
 */
import { z } from 'zod';
import { loadArgs, type LoadableRun } from '../trust/loadable-run.ts';
import { type Partition, runKey } from '../redis/partition.ts';
import { reachingState } from '../redis/reaching.ts';
import { type Activation, Activations, Texts } from '../redis/reply.ts';
import { runScript } from '../redis/scripts.ts';
import { writeTogether } from '../redis/write-together.ts';

export interface SleepyRun {
  readonly runId: string;
  readonly wakeSeq: number;
  readonly seq: number;
  readonly head: string;
}

/** A part of an index, oldest first: behind `skip` runs, at most `limit`. */
export interface Page {
  readonly skip: number;
  readonly limit: number;
}

/** By the store's clock, which says when a run parked. */
export const storeNow = async ({ redis }: Partition): Promise<number> => {
  const [seconds = 0, microseconds = 0] = await redis.time();
  return seconds * 1000 + Math.floor(microseconds / 1000);
};

const RECORD = ['wake_seq', 'seq', 'head', 'stored_seq'] as const;

/**
 * Runs parked for `parkedMs` and longer whose events the audit-writer has reported as stored; `seen` counts all of
 * the page. Throws `state_unavailable`.
 */
export const listSleepy = (
  partition: Partition,
  { parkedMs, skip, limit }: Page & { readonly parkedMs: number },
): Promise<{ seen: number; runs: SleepyRun[] }> =>
  reachingState(async () => {
    const { redis, root } = partition;
    const before = (await storeNow(partition)) - parkedMs;
    const runIds = await redis.zrangebyscore(`${root}:parked`, '-inf', before, 'LIMIT', skip, limit);
    const records = await Promise.all(
      runIds.map((runId) => redis.hmget(runKey(partition, runId), ...RECORD)),
    );
    const runs = runIds.flatMap((runId, i): SleepyRun[] => {
      const [wakeSeq, seq, head, stored] = records[i] ?? [];
      if (typeof seq !== 'string' || seq !== stored) return [];
      return [{ runId, wakeSeq: Number(wakeSeq), seq: Number(seq), head: head ?? '' }];
    });
    return { seen: runIds.length, runs };
  });

/**
 * Puts to sleep what still is as it is said to be; returns those that sleep. Throws `state_unavailable`,
 * `state_untrusted`.
 */
export const hibernateRuns = async (partition: Partition, runs: readonly SleepyRun[]): Promise<string[]> => {
  if (runs.length === 0) return [];
  const args = runs.flatMap(({ runId, wakeSeq, seq, head }) => [runId, wakeSeq, seq, head]);
  const [, ...asleep] = Texts.parse(await runScript(partition, 'hibernate', args));
  return asleep;
};

/** Hibernated runs that were woken, longest ago first. Throws `state_unavailable`. */
export const listLoading = (partition: Partition, limit: number): Promise<string[]> =>
  reachingState(async () => {
    const now = await storeNow(partition);
    return partition.redis.zrangebyscore(`${partition.root}:loading`, '-inf', now, 'LIMIT', 0, limit);
  });

/** One that cannot be loaded now does not stand in front of those that can. */
export const postponeLoading = (partition: Partition, runId: string, ms: number): Promise<void> =>
  reachingState(async () => {
    const at = (await storeNow(partition)) + ms;
    await writeTogether(partition, [['ZADD', `${partition.root}:loading`, 'XX', at, runId]]);
  });

const LoadCode = z.enum(['LOADED', 'BEHIND', 'GONE', 'PRESSURE']);

/** Puts a woken run back and makes it runnable (see awaken.lua). Throws `state_unavailable`, `state_untrusted`. */
export const awakenRun = async (
  partition: Partition,
  run: LoadableRun,
): Promise<{ code: z.infer<typeof LoadCode>; activations: readonly Activation[] }> => {
  const [code, ...rest] = Texts.parse(await runScript(partition, 'awaken', loadArgs(run)));
  return { code: LoadCode.parse(code), activations: Activations.parse(rest) };
};

/** Wakes runs that have waited for `longestMs` and longer, to be ended. Throws `state_unavailable`, `state_untrusted`. */
export const expireWaits = async (
  partition: Partition,
  {
    index,
    longestMs,
    skip,
    limit,
  }: Page & { readonly index: 'parked' | 'asleep'; readonly longestMs: number },
): Promise<{ seen: number; woken: number; activations: readonly Activation[] }> => {
  const [, seen, woken, ...rest] = Texts.parse(
    await runScript(partition, 'expire_waits', [index, longestMs, skip, limit]),
  );
  return { seen: Number(seen), woken: Number(woken), activations: Activations.parse(rest) };
};

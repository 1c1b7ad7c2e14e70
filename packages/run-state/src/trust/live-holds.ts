import type { Nano } from '@signalbox/contracts';
import { messageOf } from '@signalbox/runtime';
import { z } from 'zod';
import { batches } from '../redis/batches.ts';
import { type Partition, runKey } from '../redis/partition.ts';
import { reachingState } from '../redis/reaching.ts';
import { liveIds } from '../runs/live-ids.ts';
import { LIVE_INDEXES } from '../runs/live-runs.ts';

/** The runs here that have not ended, and what they hold, as a verification asks for them. */

const AT_ONCE = 1000;

/** What is of another type than it should be is as good as not there: one key must not keep all from being verified. */
const orNothing = <T>(read: Promise<T>): Promise<T | null> =>
  read.catch((error: unknown) => {
    if (messageOf(error).startsWith('WRONGTYPE')) return null;
    throw error;
  });

const liveHeads = async (partition: Partition): Promise<Map<string, number>> => {
  const ids = new Set<string>();
  for await (const page of liveIds(partition, LIVE_INDEXES)) for (const runId of page) ids.add(runId);
  const heads = new Map<string, number>();
  for (const batch of batches([...ids], AT_ONCE)) {
    const seqs = await Promise.all(
      batch.map((runId) => orNothing(partition.redis.hget(runKey(partition, runId), 'seq'))),
    );
    batch.forEach((runId, i) => heads.set(runId, Number(seqs[i]) || 0));
  }
  return heads;
};

/** Ids of all runs here that have not ended, with the seq their journal has reached. Throws `state_unavailable`. */
export const readLiveHeads = (partition: Partition): Promise<Map<string, number>> =>
  reachingState(() => liveHeads(partition));

const Holds = z.record(z.string(), z.string());
const HOLD = /^(held|settled|expired) (\d+) (\S+) ?(\d*)$/;

/** A hold of a run that has not ended, as run state has it. */
interface LiveHold {
  readonly holdId: string;
  readonly state: string;
  readonly day: string;
  readonly tenantId: string;
  readonly userId: string;
  readonly rootRunId: string;
  /** What it holds, or was charged. */
  readonly nano: Nano;
}

interface HoldsOfRun {
  readonly rootRunId: string;
  readonly holds: readonly LiveHold[];
}

const holdsOf = async (partition: Partition, runId: string): Promise<HoldsOfRun> => {
  const [holds, record] = await Promise.all([
    orNothing(partition.redis.hgetall(runKey(partition, runId, 'holds'))),
    orNothing(partition.redis.hmget(runKey(partition, runId), 'tenant', 'user', 'root')),
  ]);
  const [tenant, user, root] = record ?? [];
  const of = { tenantId: tenant ?? '', userId: user ?? '', rootRunId: root ?? runId };
  const parsed = Object.entries(Holds.parse(holds ?? {})).flatMap(([holdId, value]): LiveHold[] => {
    const [, state, amount, day, charged] = HOLD.exec(value) ?? [];
    if (state === undefined || day === undefined) return [];
    return [{ holdId, state, day, ...of, nano: Number(state === 'held' ? amount : charged) }];
  });
  return { rootRunId: of.rootRunId, holds: parsed };
};

/** Of all runs that have not ended. */
export const readLiveHolds = async (partition: Partition): Promise<HoldsOfRun[]> => {
  const runIds = [...(await liveHeads(partition)).keys()];
  const found: HoldsOfRun[] = [];
  for (const batch of batches(runIds, AT_ONCE)) {
    found.push(...(await Promise.all(batch.map((runId) => holdsOf(partition, runId)))));
  }
  return found;
};

/**
 * Holds that count as spent because their worker was lost, of runs that have not ended. Their event may be nowhere
 * yet: the next owner writes it. Throws `state_unavailable`.
 */
export const readChargedHolds = (partition: Partition): Promise<readonly LiveHold[]> =>
  reachingState(async () => {
    const runs = await readLiveHolds(partition);
    return runs.flatMap(({ holds }) => holds.filter(({ state }) => state === 'expired'));
  });

import { type Partition, runKey } from '../redis/partition.ts';
import { reachingState } from '../redis/reaching.ts';

export interface HotPage {
  /** Runs that have a record here, ended ones too; one may come twice. */
  readonly runIds: readonly string[];
  /** For the next page; '0': this was the last one. */
  readonly cursor: string;
}

/**
 * A part of all runs that are here, whatever index leads to them; `cursor` '0' for the first. Throws
 * `state_unavailable`.
 */
export const scanHotRuns = (partition: Partition, cursor: string, count: number): Promise<HotPage> =>
  reachingState(async () => {
    const prefix = runKey(partition, '');
    const { redis } = partition;
    const [next, keys] = await redis.scan(cursor, 'MATCH', `${prefix}*`, 'COUNT', count, 'TYPE', 'hash');
    // Its parts have a name behind their run's.
    const runIds = keys.map((key) => key.slice(prefix.length)).filter((rest) => !rest.includes(':'));
    return { runIds, cursor: next };
  });

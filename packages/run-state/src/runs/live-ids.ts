import { storeNow } from './hibernate.ts';
import type { Partition } from '../redis/partition.ts';
import { readTogether } from '../redis/read-together.ts';
import { Texts } from '../redis/reply.ts';

/**
 * The ids in indexes by state (lib/base.lua), of all tenants of the partition, in bounded reads: with a million sleepers
 * in one reply Redis would stand still. A run enters an index with the time as its score, so one that changes its state
 * meanwhile is found behind the time at which the reading began. But what falls asleep keeps its time, and what is
 * loading may have a later one: these are read after the index that runs come from. (A run that parks, sleeps and is
 * woken within one reading would be missed; it sleeps only after minutes.)
 */

export type LiveIndex = 'running' | `queued:${0 | 1 | 2}` | 'parked' | 'asleep' | 'loading';

/** Ids that one read gives of an index. */
const PAGE = 1000;

/** Scores, both included. */
interface Span {
  readonly from: string;
  readonly until: string;
}

/** By score. What lies there all the time is read, whatever comes and goes. */
async function* idsWithin(
  { redis, root }: Partition,
  index: LiveIndex,
  { from, until }: Span,
): AsyncGenerator<readonly string[]> {
  const key = `${root}:${index}`;
  for (let after = from; ; ) {
    const rows = await redis.zrange(key, after, until, 'BYSCORE', 'LIMIT', 0, PAGE, 'WITHSCORES');
    const ids = rows.filter((_, i) => i % 2 === 0);
    const last = rows.at(-1);
    if (ids.length < PAGE || last === undefined) return yield ids;
    // A page may end among those of one instant; they are what one script, or a millisecond, can put there.
    yield [...new Set([...ids, ...(await redis.zrange(key, last, last, 'BYSCORE'))])];
    after = `(${last}`;
  }
}

/** Of each index the first that entered it at `since` or later, all at one instant. */
const readNewcomers = async (
  partition: Partition,
  indexes: readonly LiveIndex[],
  since: string,
): Promise<readonly string[][]> => {
  const keys = indexes.filter((index) => index !== 'loading').map((index) => `${partition.root}:${index}`);
  const replies = await readTogether(
    partition,
    keys.map((key) => ['ZRANGE', key, since, '+inf', 'BYSCORE', 'LIMIT', 0, PAGE]),
  );
  return replies.map((reply) => Texts.parse(reply));
};

/**
 * Pages of ids, index by index, each oldest first; an id may come twice. Every run that is in one of the indexes when
 * the last page is read was in one of them.
 */
export async function* liveIds(
  partition: Partition,
  indexes: readonly LiveIndex[],
): AsyncGenerator<readonly string[]> {
  for (let from = '-inf'; ; ) {
    const now = String(await storeNow(partition));
    for (const index of indexes)
      yield* idsWithin(partition, index, { from, until: index === 'loading' ? '+inf' : now });
    const newcomers = await readNewcomers(partition, indexes, now);
    yield newcomers.flat();
    if (newcomers.every((ids) => ids.length < PAGE)) return;
    from = now;
  }
}

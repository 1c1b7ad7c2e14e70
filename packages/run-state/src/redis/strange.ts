import { SignalboxError } from '@signalbox/contracts';
import { messageOf } from '@signalbox/runtime';
import { evaluate } from './evaluate.ts';
import type { Partition } from './partition.ts';
import { reachingState } from './reaching.ts';
import { Texts } from './reply.ts';

/**
 * Keys that hold another type than they should (strange.lua). Those that all tenants share are looked at by their names;
 * those of one tenant, user, lease, scope or run are without number, so for them all keys are walked.
 */

/** Keys that one look of a walk without a rest passes. */
const WALK_COUNT = 1000;
/** A walk whose process died is begun anew by then. */
const WALK_MS = 30_000;
/** What no walk finds is walked for again after this, however many scripts break at it. */
const IN_VAIN_MS = 10_000;

/** A key holds another type than it should. */
export const isWrongType = (error: unknown): boolean => messageOf(error).startsWith('WRONGTYPE ');

interface Look {
  /** Names of the keys set aside. */
  readonly aside: readonly string[];
  /** For the next look; '0': this was the last one. */
  readonly cursor: string;
}

const look = async (partition: Partition, from: string, count: number): Promise<Look> => {
  const { redis, root } = partition;
  const [cursor, keys] = await redis.scan(from, 'MATCH', `${root}:*`, 'COUNT', count);
  const names = keys.map((key) => key.slice(root.length + 1));
  return { aside: Texts.parse(await evaluate(partition, 'strange', names)), cursor };
};

/** Whether any was set aside. */
const walk = async (partition: Partition): Promise<boolean> => {
  let found = false;
  for (let from = '0'; ; ) {
    const { aside, cursor } = await look(partition, from, WALK_COUNT);
    found ||= aside.length > 0;
    if (cursor === '0') return found;
    from = cursor;
  }
};

/**
 * A script broke at a key of another type: it is set aside, if it is one of ours. Of all who meet it one walks. Throws
 * `state_unavailable` to the others meanwhile, and what Redis says.
 */
export const lookForStrange = async (partition: Partition): Promise<void> => {
  if (Texts.parse(await evaluate(partition, 'strange', [])).length > 0) return;
  const { redis, root } = partition;
  const turn = `${root}:strange_walk`;
  const other = await redis.set(turn, 'under way', 'PX', WALK_MS, 'NX', 'GET');
  if (other === 'under way') {
    const what =
      'A key of run state holds another type than it should, and is looked for. Try again in a moment.';
    throw new SignalboxError('state_unavailable', what, { retryAfter: 1 });
  }
  if (other !== null) return;
  if (await walk(partition)) await redis.del(turn);
  else await redis.set(turn, 'in vain', 'PX', IN_VAIN_MS);
};

/**
 * Sets keys aside that hold another type than they should: those that all tenants share, and those in a part of all
 * keys; `from` '0' for the first. Then a verification makes them anew. Throws `state_unavailable`.
 */
export const setStrangeAside = (partition: Partition, from: string, count: number): Promise<Look> =>
  reachingState(() => look(partition, from, count));

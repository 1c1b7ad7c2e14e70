import type { Redis } from 'ioredis';
import { abortChannel } from '../abort/abort.ts';
import type { Partition } from '../redis/partition.ts';

/**
 * Hints that something happened, over pub/sub. Owns one subscriber connection and its channels. A hint
 * may be lost: whoever waits for one also looks by himself now and then (Abort).
 */

export type Hint =
  /** The journal reached this seq. */
  | { readonly type: 'head'; readonly seq: number }
  | { readonly type: 'abort' }
  /** Text a model is producing, sealed with the run's key, base64. */
  | { readonly type: 'delta'; readonly step: number; readonly sealed: string };

export interface Tail {
  /** Calls back on every hint of a run; returns how to stop. */
  watch(partition: Partition, runId: string, onHint: (hint: Hint) => void): Promise<() => void>;
  /**
   * Calls back when a run has ended, and tells nothing of the way there: who waits for the end costs the run neither
   * deltas that nobody reads nor a message per step.
   */
  watchEnd(partition: Partition, runId: string, onEnd: () => void): Promise<() => void>;
  /** Calls back with the id of every run that is asked to stop. */
  watchAborts(partition: Partition, onAbort: (runId: string) => void): Promise<() => void>;
}

const channelOf = (partition: Partition, runId: string): string => `${partition.root}:tail:${runId}`;

const parse = (message: string): Hint => {
  if (message.startsWith('s')) return { type: 'head', seq: Number(message.slice(1)) };
  if (message.startsWith('d')) {
    const [step = '0', sealed = ''] = message.slice(1).split(' ');
    return { type: 'delta', step: Number(step), sealed };
  }
  return { type: 'abort' };
};

export const createTail = (subscriber: Redis): Tail => {
  const listeners = new Map<string, Set<(message: string) => void>>();
  subscriber.on('message', (channel: string, message: string) => {
    for (const listener of listeners.get(channel) ?? []) listener(message);
  });

  const listen = async (channel: string, listener: (message: string) => void): Promise<() => void> => {
    const known = listeners.get(channel);
    if (known === undefined) listeners.set(channel, new Set([listener]));
    else known.add(listener);
    await subscriber.subscribe(channel);
    return () => {
      const set = listeners.get(channel);
      set?.delete(listener);
      if (set?.size !== 0) return;
      listeners.delete(channel);
      subscriber.unsubscribe(channel).catch(() => undefined);
    };
  };

  return {
    watch: (partition, runId, onHint) =>
      listen(channelOf(partition, runId), (message) => onHint(parse(message))),
    watchEnd: (partition, runId, onEnd) => listen(`${partition.root}:ended:${runId}`, onEnd),
    watchAborts: (partition, onAbort) => listen(abortChannel(partition), onAbort),
  };
};

/** Publishes sealed text; returns how many listen, so that nobody seals for nobody. */
export const publishDelta = (
  partition: Partition,
  runId: string,
  delta: { step: number; sealed: string },
): Promise<number> => partition.redis.publish(channelOf(partition, runId), `d${delta.step} ${delta.sealed}`);

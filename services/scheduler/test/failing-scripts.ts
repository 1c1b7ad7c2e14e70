import type { Partition } from '@signalbox/run-state';

/** Some of its scripts, counted from 1, fail with the message that `why` gives for their arguments. */
export const failing = (
  partition: Partition,
  why: (nth: number, args: readonly unknown[]) => string | null,
): Partition => {
  let scripts = 0;
  const redis = new Proxy(partition.redis, {
    get: (target, name) => {
      const value: unknown = Reflect.get(target, name);
      if (typeof value !== 'function') return value;
      const call = (value as (...args: unknown[]) => unknown).bind(target);
      if (name !== 'evalsha') return call;
      return (...args: unknown[]) => {
        const message = why((scripts += 1), args);
        return message === null ? call(...args) : Promise.reject(new Error(message));
      };
    },
  });
  return { ...partition, redis };
};

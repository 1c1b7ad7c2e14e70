import type { Hint, Partition, Tail } from '@signalbox/run-state';

export interface Watcher {
  readonly onHint: (hint: Hint) => void;
  /** Hints come from now on; what happened before must be looked for. */
  readonly onReady: () => void;
}

/**
 * Subscribes to the hints of a run without waiting for it: a Redis that is away must not hold up who can
 * look by himself. Returns how to stop, also before it began.
 */
export const watchRun = (
  { tail, partition }: { tail: Tail; partition: Partition },
  runId: string,
  { onHint, onReady }: Watcher,
): (() => void) => {
  let stopped = false;
  let unwatch = (): void => undefined;
  tail.watch(partition, runId, onHint).then(
    (stop) => {
      unwatch = stop;
      if (stopped) unwatch();
      else onReady();
    },
    // No subscription, no hints: the watcher's own looks remain.
    () => undefined,
  );
  return () => {
    stopped = true;
    unwatch();
  };
};

/**
 * Waits beside a subscription to the hints of a run: a Redis that is away must not hold up who can look by himself.
 * `onReady`: hints come from now on; what happened before must be looked for. Returns how to stop, also before it began.
 */
export const watchRun = (subscribed: Promise<() => void>, onReady: () => void): (() => void) => {
  let stopped = false;
  let unwatch = (): void => undefined;
  subscribed.then(
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

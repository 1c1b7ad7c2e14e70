import type { Clock } from '@signalbox/runtime';

/** What changes all the time is not more wrong for being so old. */
const SHARED_MS = 250;

/** Whoever asks while a read is under way, or moments after it began, gets its answer: it costs the same for one as for many. */
export const sharedRead = <T>(
  clock: Pick<Clock, 'monotonic'>,
  read: () => Promise<T>,
): (() => Promise<T>) => {
  let last: { readonly answer: Promise<T>; readonly at: number; over: boolean } | undefined;
  return () => {
    if (last !== undefined && (!last.over || clock.monotonic() - last.at <= SHARED_MS)) return last.answer;
    const begun = { answer: read(), at: clock.monotonic(), over: false };
    const end = (): void => void (begun.over = true);
    begun.answer.then(end, end);
    last = begun;
    return begun.answer;
  };
};

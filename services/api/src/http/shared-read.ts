import type { Clock } from '@signalbox/runtime';

/**
 * Whoever asks while a read is under way gets its answer: it costs the same for one as for many. So does who asks
 * behind its end for as long as it took, and for `leastMs`: no more than half of the time goes into reading, and what
 * is read quickly is always news.
 */
export const sharedRead = <T>(
  clock: Pick<Clock, 'monotonic'>,
  read: () => Promise<T>,
  { leastMs = 0 }: { readonly leastMs?: number } = {},
): (() => Promise<T>) => {
  let last: { readonly answer: Promise<T>; goodUntil: number } | undefined;
  return () => {
    if (last !== undefined && clock.monotonic() < last.goodUntil) return last.answer;
    const begunAt = clock.monotonic();
    const begun = { answer: read(), goodUntil: Number.POSITIVE_INFINITY };
    begun.answer.then(
      () => {
        const now = clock.monotonic();
        begun.goodUntil = now + Math.max(leastMs, now - begunAt);
      },
      () => (last = undefined),
    );
    last = begun;
    return begun.answer;
  };
};

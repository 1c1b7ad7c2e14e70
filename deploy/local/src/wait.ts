import { setTimeout as sleep } from 'node:timers/promises';

export interface WaitOptions {
  /** Completes "Waited N s in vain for ..." */
  readonly what: string;
  readonly timeoutMs: number;
  readonly everyMs?: number;
}

/** Asks until the answer is not undefined; throws what `ask` throws, or that the time is over. */
export async function waitFor<T>(
  ask: () => Promise<T | undefined> | T | undefined,
  options: WaitOptions,
): Promise<T> {
  const deadline = performance.now() + options.timeoutMs;
  for (;;) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    if (performance.now() > deadline) {
      throw new Error(`Waited ${options.timeoutMs / 1000} s in vain for ${options.what}.`);
    }
    await sleep(options.everyMs ?? 25);
  }
}

/** Waits for a condition, not for a time; throws after a minute that `what` did not come to pass. */
export const until = (what: string, holds: () => Promise<boolean> | boolean): Promise<true> =>
  waitFor(async () => ((await holds()) ? true : undefined), { what, timeoutMs: 60_000, everyMs: 10 });

/** Open loop: requests begin on time, whether those before have ended or not. */
import { setTimeout as sleep } from 'node:timers/promises';
import { intake, type Load } from './work.ts';

/** Milliseconds from when each was due to its end, so that one that had to wait for its turn counts its wait. */
export const steadily = async (
  { perSecond, until }: { readonly perSecond: number; readonly until: Load['until'] },
  send: () => Promise<unknown>,
): Promise<number[]> => {
  const more = intake(until);
  const times: Promise<number>[] = [];
  const started = performance.now();
  for (let n = 0; more(); n += 1) {
    const due = started + (n * 1000) / perSecond;
    const early = due - performance.now();
    if (early > 0) await sleep(early);
    times.push(send().then(() => performance.now() - due));
  }
  return Promise.all(times);
};

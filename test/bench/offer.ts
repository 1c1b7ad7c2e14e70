import { steadily } from './steady.ts';
import { closedLoop, type Load, type Outcome } from './work.ts';

/** Puts a load on a subject whose runs can be awaited one by one. */
export const offer = async (load: Load, run: (n: number) => Promise<unknown>): Promise<Outcome> => {
  const { perSecond, until } = load;
  if (perSecond === undefined) return closedLoop(load, run);
  const started = performance.now();
  let begun = 0;
  const times = await steadily({ perSecond, until }, () => run(++begun));
  return { runs: times.length, seconds: (performance.now() - started) / 1000, times };
};

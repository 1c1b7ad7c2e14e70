/** As many submissions as whoever takes them can take, then half as many. */
import { metered, type Window } from '../meter.ts';
import type { ProcessGroup } from '../process-tree.ts';
import { quantile } from '../statistics.ts';
import { steadily } from '../steady.ts';
import { type Context, countedCpu, partsOf, warmUp } from '../trial.ts';
import { closedLoop, type Outcome } from '../work.ts';

const CLIENTS = 32;

interface Taker {
  readonly groups: readonly ProcessGroup[];
  readonly send: () => Promise<unknown>;
}

export interface Saturation {
  readonly perSecond: number;
  /** Processor milliseconds per submission, by process and of all. */
  readonly cpuParts: Readonly<Record<string, number>>;
  readonly cpuMs: number;
  readonly window: Window;
}

export const saturate = async (until: Context['until'], { groups, send }: Taker): Promise<Saturation> => {
  await closedLoop({ inFlight: CLIENTS, until: warmUp(until) }, send);
  const work = (): Promise<Outcome> => closedLoop({ inFlight: CLIENTS, until }, send);
  const { value, ...usage } = await metered(groups, work);
  const perRequest = (seconds: number): number => (seconds * 1000) / value.runs;
  return {
    perSecond: value.runs / value.seconds,
    cpuParts: partsOf(usage, value.runs),
    cpuMs: perRequest(countedCpu(usage)),
    window: usage.window,
  };
};

/** How long a submission takes at half of what saturates. */
export const atHalf = async (
  until: Context['until'],
  { perSecond }: Saturation,
  send: Taker['send'],
): Promise<Readonly<Record<string, number>>> => {
  const times = await steadily({ perSecond: perSecond / 2, until }, send);
  return { 'p50 ms at half': quantile(times, 0.5), 'p99 ms at half': quantile(times, 0.99) };
};

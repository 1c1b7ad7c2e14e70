/** One subject doing one work, measured once per repetition, from servers of its own that nobody used before. */
import { setTimeout as sleep } from 'node:timers/promises';
import type { ProfileTop } from './cpu-profile.ts';
import type { Usage, Window } from './meter.ts';
import { quantile } from './statistics.ts';
import type { Load, Outcome } from './work.ts';

export interface Context {
  /** For data and logs of this measurement alone. */
  readonly dir: string;
  readonly until: Load['until'];
  /** Of every Redis. */
  readonly appendfsync: 'everysec' | 'always';
  /** Our services write profiles. */
  readonly profile: boolean;
}

export interface Sample {
  /** By name with unit, in the order of the columns. */
  readonly figures: Readonly<Record<string, number>>;
  /** Processor milliseconds per run, by process. */
  readonly cpuParts?: Readonly<Record<string, number>>;
  /** What of the profiles counts; without it, nothing was started or warmed up outside of what is measured. */
  readonly window?: Window;
  readonly profiles?: Readonly<Record<string, ProfileTop>>;
}

export interface Trial {
  readonly work: string;
  readonly subject: string;
  measure(context: Context): Promise<Sample>;
}

/** What sends the work and is no part of the subject. */
export const CLIENT = 'client (not counted)';

const MEGABYTE = 2 ** 20;

/** Processor seconds of everything but the client. */
export const countedCpu = ({ cpu }: Pick<Usage, 'cpu'>): number =>
  [...cpu].reduce((sum, [name, seconds]) => (name === CLIENT ? sum : sum + seconds), 0);

/** Processor milliseconds per piece of work, by process. */
export const partsOf = ({ cpu }: Pick<Usage, 'cpu'>, pieces: number): Record<string, number> =>
  Object.fromEntries([...cpu].map(([name, seconds]) => [name, (seconds * 1000) / pieces]));

const latencies = (times: readonly number[]): Record<string, number> => ({
  'p50 ms': quantile(times, 0.5),
  'p90 ms': quantile(times, 0.9),
  'p99 ms': quantile(times, 0.99),
});

/** The figures of a W work. */
export const workSample = ({
  value,
  cpu,
  peakBytes,
  window,
}: Usage & { readonly value: Outcome }): Sample => {
  const perRun = (seconds: number): number => (seconds * 1000) / value.runs;
  return {
    figures: {
      ...(value.times === undefined ? { 'runs/s': value.runs / value.seconds } : latencies(value.times)),
      'CPU ms/run': perRun(countedCpu({ cpu })),
      'memory MB': peakBytes / MEGABYTE,
      runs: value.runs,
    },
    window,
    cpuParts: partsOf({ cpu }, value.runs),
  };
};

/** Before what is measured: code is compiled, connections are open. */
export const warmUp = (until: Load['until']): Load['until'] =>
  'runs' in until ? { runs: Math.ceil(until.runs / 4) } : { seconds: Math.min(5, until.seconds / 4) };

/** Until what the warm-up left behind is done with. */
const REST_MS = 3000;

/** Warms up for a load at a rate as for any other: at full speed, since few runs compile nothing. Then it rests. */
export const warmedUp = async (
  { shape, inFlight, perSecond }: Omit<Load, 'until'>,
  until: Load['until'],
  work: (load: Load) => Promise<unknown>,
): Promise<void> => {
  await work({ shape, inFlight, until: warmUp(until) });
  if (perSecond !== undefined) await sleep(REST_MS);
};

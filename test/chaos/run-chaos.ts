/** One chaos run, from its seed: load and faults, healing and rest, and a verdict. */
import { buildCase } from './case.ts';
import { startClients } from './clients.ts';
import type { Fault, Strike } from './fault.ts';
import { judgeAll } from './invariants/index.ts';
import { runNemesis } from './nemesis.ts';
import { failuresOf, faultLines, type Report, unaskedEnds } from './report.ts';
import { comeToRest } from './rest.ts';
import { startSampler } from './sampler.ts';
import { startWorld, type World } from './world.ts';

export interface ChaosOptions {
  readonly seed: number;
  /** Of load and faults; every fault is done once, however long that takes. */
  readonly seconds: number;
  readonly faults: readonly Fault[];
  /** Clients at once. */
  readonly lanes: number;
  readonly dir: string;
  readonly onProgress: (line: string) => void;
}

/** To get an answer to what was asked for when the load ends. */
const PATIENCE_MS = 20_000;

const told = ({ fault, evidence, recoveryMs, breaches, at, endedAt }: Strike): string =>
  [
    `${fault} (${((endedAt - at) / 1000).toFixed(1)} s): ${evidence ?? 'met nothing to break'}`,
    ...(recoveryMs === null ? [] : [`recovered in ${Math.round(recoveryMs)} ms`]),
    ...breaches,
  ].join('; ');

const breakAndJudge = async (world: World, options: ChaosOptions): Promise<Report> => {
  const { seed, seconds, faults, lanes, onProgress } = options;
  const { history, apiUrls, keys } = world;
  const startedAt = performance.now();
  const untilMs = startedAt + seconds * 1000;
  const clients = startClients({ seed, lanes, apiUrls, keys, history });
  const sampler = startSampler(world);
  const onStrike = (strike: Strike): void => onProgress(told(strike));
  const strikes = await runNemesis(world, { seed, faults, untilMs, onStrike });
  await clients.stop(PATIENCE_MS);
  const lasted = Math.round((performance.now() - startedAt) / 1000);
  onProgress(`${clients.submitted()} runs submitted in ${lasted} s; waiting for rest`);
  const rest = await comeToRest(world);
  const samples = await sampler.stop();
  const all = await buildCase(world, { samples, rest, strikes, seconds });
  const verdicts = judgeAll(all);
  const lines = faultLines(strikes);
  const statuses = Map.groupBy(all.runs.values(), ({ status }) => status);
  return {
    seed,
    seconds: lasted,
    runs: all.runs.size,
    calls: world.provider.ledger.length,
    statuses: new Map([...statuses].map(([status, list]) => [status, list.length])),
    faults: lines,
    verdicts,
    unasked: world.fleet.members.flatMap(({ name, ends }) => unaskedEnds(name, ends)),
    failures: failuresOf(lines, strikes, verdicts),
  };
};

export const runChaos = async (options: ChaosOptions): Promise<Report> => {
  const world = await startWorld(options);
  try {
    return await breakAndJudge(world, options);
  } finally {
    await world.stop();
  }
};

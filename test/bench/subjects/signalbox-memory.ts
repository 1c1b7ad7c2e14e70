/** What a run takes while a model thinks about it: memory with many such runs, less memory with none. */
import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '@signalbox/local';
import { readDemand } from '@signalbox/run-state';
import { memoryBytes } from '../process-tree.ts';
import type { Context, Sample, Trial } from '../trial.ts';
import { closedLoop } from '../work.ts';
import { publishAgent, scriptOf, submitRun } from './signalbox-agent.ts';
import { type Signalbox, withSignalbox } from './signalbox.ts';

const SUBMITTERS = 16;
const START_MS = 120_000;
/** Longer than the measurement. */
const THOUGHT_MS = 600_000;
/** Until buffers of the submissions are given back. */
const REST_MS = 3000;

const memoryOf = ({ groups }: Signalbox): Map<string, number> =>
  new Map(groups.map((group) => [group.name, memoryBytes(group)]));

const measure = (context: Context, runs: number): Promise<Sample> =>
  withSignalbox(context, { workers: 1, slots: runs }, async (signalbox) => {
    await publishAgent(signalbox, scriptOf({ steps: 1, latencyMs: THOUGHT_MS }));
    const submit = (count: number) =>
      closedLoop({ inFlight: SUBMITTERS, until: { runs: count } }, () => submitRun(signalbox));
    const active = (wanted: number) =>
      waitFor(
        async () =>
          (await readDemand(signalbox.partition, Date.now())).active === wanted ? true : undefined,
        { what: `${wanted} runs to be at work`, timeoutMs: START_MS },
      );
    // A tenth first: code, connections and buffers that one run needs as well as a thousand.
    const first = Math.ceil(runs / 10);
    await submit(first);
    await active(first);
    await sleep(REST_MS);
    const before = memoryOf(signalbox);
    await submit(runs - first);
    await active(runs);
    await sleep(REST_MS);
    const after = memoryOf(signalbox);
    const perRun = (name: string): number =>
      ((after.get(name) ?? 0) - (before.get(name) ?? 0)) / (runs - first) / 1024;
    const all = [...after.values()].reduce((sum, bytes) => sum + bytes, 0);
    return {
      figures: {
        'worker KB/run': perRun('worker'),
        'Redis KB/run': perRun('redis'),
        'worker MB': (after.get('worker') ?? 0) / 2 ** 20,
        'all MB': all / 2 ** 20,
      },
    };
  });

export const memoryTrial = (work: string, runs: number): Trial => ({
  work,
  subject: `Signalbox, ${runs} runs in one worker`,
  measure: (context) => measure(context, runs),
});

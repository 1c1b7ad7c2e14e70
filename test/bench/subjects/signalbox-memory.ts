/**
 * What a run takes while a model thinks about it: memory with many such runs, less memory with few. And whether the
 * worker keeps up with them: its event loop while they start and for longer than a lease, and locks that it lost.
 */
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

/** Longer than the lease, which is also the lock of BullMQ. */
const WATCH_MS = 45_000;

/** p99 of the delay of the worker's event loop since it was last asked, ms. */
const loopDelayMs = async ({ stack }: Signalbox): Promise<number> => {
  const text = await (await fetch(`${stack.workers[0]?.url}/metrics`)).text();
  const seconds = /^nodejs_eventloop_lag_p99_seconds ([\d.e-]+)$/m.exec(text)?.[1];
  if (seconds === undefined) throw new Error('The worker does not tell the delay of its event loop.');
  return Number(seconds) * 1000;
};

/** Jobs that BullMQ took from a worker which had not renewed their lock. */
const stalls = async ({ partition: { redis, root } }: Signalbox): Promise<number> => {
  const events = await redis.xrange(`${root}:activations:events`, '-', '+');
  return events.filter(([, fields]) => fields.includes('stalled')).length;
};

/** Claims of runs beyond their first: somebody believed their worker lost. */
const secondClaims = async ({ db }: Signalbox, runs: number): Promise<number> => {
  const { count } = await db
    .selectFrom('audit_events')
    .where('type', '=', 'run.claimed')
    .select(({ fn }) => fn.countAll<number>().as('count'))
    .executeTakeFirstOrThrow();
  return count - runs;
};

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
    await loopDelayMs(signalbox);
    await submit(runs - first);
    await active(runs);
    const startingMs = await loopDelayMs(signalbox);
    await sleep(REST_MS);
    const after = memoryOf(signalbox);
    await sleep(WATCH_MS);
    const watchingMs = await loopDelayMs(signalbox);
    const perRun = (name: string): number =>
      ((after.get(name) ?? 0) - (before.get(name) ?? 0)) / (runs - first) / 1024;
    const all = [...after.values()].reduce((sum, bytes) => sum + bytes, 0);
    return {
      figures: {
        'worker KB/run': perRun('worker'),
        'Redis KB/run': perRun('redis'),
        'worker MB': (after.get('worker') ?? 0) / 2 ** 20,
        'all MB': all / 2 ** 20,
        'event loop p99 ms, starting': startingMs,
        'event loop p99 ms, at work': watchingMs,
        'lost locks': (await stalls(signalbox)) + (await secondClaims(signalbox, runs)),
      },
    };
  });

export const memoryTrial = (work: string, runs: number): Trial => ({
  work,
  subject: `Signalbox, ${runs} runs in one worker`,
  measure: (context) => measure(context, runs),
});

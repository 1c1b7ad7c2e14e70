/** W on Signalbox: submitted one by one to the api, and over when every run has ended and all of it is in Postgres. */
import { setTimeout as sleep } from 'node:timers/promises';
import { waitFor } from '@signalbox/local';
import { metered } from '../meter.ts';
import { type Context, type Sample, type Trial, warmUp, workSample } from '../trial.ts';
import { intake, type Load, type Outcome, type Shape } from '../work.ts';
import { publishAgent, scriptOf, submitRun } from './signalbox-agent.ts';
import { type Signalbox, withSignalbox } from './signalbox.ts';

const SUBMITTERS = 16;
const LOOK_MS = 50;
const SETTLE_MS = 300_000;

const NOT_ENDED = ['queued:0', 'queued:1', 'queued:2', 'running', 'parked'];

/**
 * Counts alone: `readDemand` also looks for the oldest run, which would cost Redis more than a percent of W5. In the
 * order in which a run moves on, so that none is missed between two of them.
 */
export const unfinished = async ({ partition }: Signalbox): Promise<{ runs: number; backlog: number }> => {
  const { redis, root } = partition;
  const counts = NOT_ENDED.map((index) => redis.zcard(`${root}:${index}`));
  const backlog = redis.xlen(`${root}:audit`);
  return { runs: (await Promise.all(counts)).reduce((sum, count) => sum + count, 0), backlog: await backlog };
};

/** Submits while there is room. What counts as ended is at most what has ended. */
export const submitAll = async (signalbox: Signalbox, { inFlight, until }: Load): Promise<number> => {
  const more = intake(until);
  const done = new AbortController();
  const counts = { submitted: 0, ended: 0 };
  const looking = (async () => {
    while (!done.signal.aborted) {
      const before = counts.submitted;
      counts.ended = Math.max(counts.ended, before - (await unfinished(signalbox)).runs);
      await sleep(LOOK_MS);
    }
  })();
  const room = (): boolean => counts.submitted - counts.ended < inFlight;
  const lane = async (): Promise<void> => {
    for (;;) {
      while (!room()) await sleep(LOOK_MS / 5);
      if (!more()) return;
      counts.submitted += 1;
      await submitRun(signalbox);
    }
  };
  try {
    await Promise.all(Array.from({ length: Math.min(SUBMITTERS, inFlight) }, lane));
  } finally {
    done.abort();
    await looking;
  }
  return counts.submitted;
};

export const runAll = async (signalbox: Signalbox, load: Load): Promise<Outcome> => {
  const started = performance.now();
  const runs = await submitAll(signalbox, load);
  await waitFor(
    async () => {
      const left = await unfinished(signalbox);
      return left.runs + left.backlog === 0 ? true : undefined;
    },
    { what: 'all runs to end and to be stored', timeoutMs: SETTLE_MS, everyMs: LOOK_MS },
  );
  return { runs, seconds: (performance.now() - started) / 1000 };
};

/** A run that failed did less work than it is counted for, and so does one whose calls are not held and settled. */
const assertSucceeded = async ({ db }: Signalbox, runs: number, { steps }: Shape): Promise<void> => {
  const rows = await db
    .selectFrom('runs')
    .select(({ fn }) => ['status', fn.countAll<number>().as('count')])
    .groupBy('status')
    .execute();
  const counts = Object.fromEntries(rows.map(({ status, count }) => [status, count]));
  if (counts['succeeded'] !== runs || rows.length !== 1)
    throw new Error(`${runs} runs were submitted; they ended as ${JSON.stringify(counts)}.`);
  const { calls } = await db
    .selectFrom('cost_ledger')
    .where('state', '=', 'settled')
    .select(({ fn }) => fn.countAll<number>().as('calls'))
    .executeTakeFirstOrThrow();
  if (calls !== runs * (steps + 1))
    throw new Error(`${runs} runs made ${steps + 1} calls each; ${calls} were held and settled.`);
};

type RunsLoad = Omit<Load, 'until'>;

const measure = (context: Context, { shape, inFlight }: RunsLoad): Promise<Sample> =>
  withSignalbox(context, { workers: 1, slots: inFlight }, async (signalbox) => {
    await publishAgent(signalbox, scriptOf(shape));
    const warm = await runAll(signalbox, { shape, inFlight, until: warmUp(context.until) });
    const work = (): Promise<Outcome> => runAll(signalbox, { shape, inFlight, until: context.until });
    const usage = await metered(signalbox.groups, work);
    await assertSucceeded(signalbox, warm.runs + usage.value.runs, shape);
    return workSample(usage);
  });

export const signalboxTrial = ({ work, ...load }: RunsLoad & { readonly work: string }): Trial => ({
  work,
  subject: 'Signalbox',
  measure: (context) => measure(context, load),
});

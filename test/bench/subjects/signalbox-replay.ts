/**
 * Replay through the api: journals of ended runs read, opened, checked and folded again. One by one by clients, and all
 * in one job, which says how many steps it does in a second of work.
 */
import { waitFor } from '@signalbox/local';
import { metered } from '../meter.ts';
import { type Context, countedCpu, type Sample, type Trial, warmUp } from '../trial.ts';
import { closedLoop, type Shape } from '../work.ts';
import { publishAgent, scriptOf, submitRun } from './signalbox-agent.ts';
import { type Signalbox, withSignalbox } from './signalbox.ts';

/** So many that the job works for seconds: with some hundred its first page is most of it. */
const RUNS = 3000;
const JOB_MS = 120_000;
const CLIENTS = 16;
const SHAPE: Shape = { steps: 5, latencyMs: 0 };
const STEPS = 2 * SHAPE.steps + 1;

interface Job {
  readonly status: string;
  readonly steps_per_second: number;
  readonly counts: { readonly identical: number };
}

const asJob = async ({ api }: Signalbox): Promise<number> => {
  const { id } = JSON.parse(await api.send('POST', '/v1/replays', JSON.stringify({ filter: {} }))) as {
    id: string;
  };
  const job = await waitFor(
    async () => {
      const now = JSON.parse(await api.send('GET', `/v1/replays/${id}`)) as Job;
      return now.status === 'done' ? now : undefined;
    },
    { what: 'the replay job to be done', timeoutMs: JOB_MS, everyMs: 100 },
  );
  if (job.counts.identical !== RUNS) throw new Error(`The job diverged: ${JSON.stringify(job)}`);
  return job.steps_per_second;
};

const measure = (context: Context): Promise<Sample> =>
  withSignalbox(context, {}, async (signalbox) => {
    const { api } = signalbox;
    await publishAgent(signalbox, scriptOf(SHAPE));
    const ids: string[] = [];
    await closedLoop({ inFlight: CLIENTS, until: { runs: RUNS } }, async () => {
      const id = await submitRun(signalbox);
      await api.send('GET', `/v1/runs/${id}?wait=55`);
      ids.push(id);
    });
    const replay = async (n: number): Promise<void> => {
      const answer = await api.send('POST', `/v1/runs/${ids[n % ids.length]}/replay`);
      if (!answer.includes('"identical":true')) throw new Error(`A replay diverged: ${answer}`);
    };
    await closedLoop({ inFlight: CLIENTS, until: warmUp(context.until) }, replay);
    const { value, ...usage } = await metered(signalbox.groups, () =>
      closedLoop({ inFlight: CLIENTS, until: context.until }, replay),
    );
    const steps = value.runs * STEPS;
    return {
      window: usage.window,
      figures: {
        'steps/s': steps / value.seconds,
        'CPU ms/step': (countedCpu(usage) * 1000) / steps,
        'steps/s of a job at work': await asJob(signalbox),
      },
    };
  });

export const replayTrial = (work: string): Trial => ({ work, subject: 'Signalbox', measure });

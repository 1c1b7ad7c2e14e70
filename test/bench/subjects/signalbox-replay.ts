/** Replay through the api: journals of ended runs read, opened, checked and folded again. */
import { metered } from '../meter.ts';
import { type Context, countedCpu, type Sample, type Trial, warmUp } from '../trial.ts';
import { closedLoop, type Shape } from '../work.ts';
import { publishAgent, scriptOf, submitRun } from './signalbox-agent.ts';
import { withSignalbox } from './signalbox.ts';

const RUNS = 50;
const CLIENTS = 8;
const SHAPE: Shape = { steps: 5, latencyMs: 0 };
const STEPS = 2 * SHAPE.steps + 1;

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
      figures: { 'steps/s': steps / value.seconds, 'CPU ms/step': (countedCpu(usage) * 1000) / steps },
    };
  });

export const replayTrial = (work: string): Trial => ({ work, subject: 'Signalbox', measure });

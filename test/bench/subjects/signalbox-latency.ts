/** How long one run takes while runs come at a steady rate that leaves the machine room: submission to answer. */
import { metered } from '../meter.ts';
import { quantile } from '../statistics.ts';
import { steadily } from '../steady.ts';
import { type Context, countedCpu, type Sample, type Trial, warmUp } from '../trial.ts';
import type { Shape } from '../work.ts';
import { publishAgent, scriptOf, submitRun } from './signalbox-agent.ts';
import { type Signalbox, withSignalbox } from './signalbox.ts';

const PER_SECOND = 20;

/** A client that submits and waits for the end. */
const runOnce = async (signalbox: Signalbox): Promise<void> => {
  const id = await submitRun(signalbox);
  const answer = await signalbox.api.send('GET', `/v1/runs/${id}?wait=30`);
  if (!answer.includes('"succeeded"')) throw new Error(`The run did not succeed within 30 s: ${answer}`);
};

const measure = (context: Context, shape: Shape): Promise<Sample> =>
  withSignalbox(context, {}, async (signalbox) => {
    await publishAgent(signalbox, scriptOf(shape));
    const atRate = (until: Context['until']): Promise<number[]> =>
      steadily({ perSecond: PER_SECOND, until }, () => runOnce(signalbox));
    await atRate(warmUp(context.until));
    const { value, ...usage } = await metered(signalbox.groups, () => atRate(context.until));
    return {
      window: usage.window,
      figures: {
        'p50 ms': quantile(value, 0.5),
        'p90 ms': quantile(value, 0.9),
        'p99 ms': quantile(value, 0.99),
        'CPU ms/run': (countedCpu(usage) * 1000) / value.length,
      },
    };
  });

export const latencyTrial = (work: string, shape: Shape): Trial => ({
  work,
  subject: 'Signalbox',
  measure: (context) => measure(context, shape),
});

/** How long one run takes while runs come at a steady rate that leaves the machine room: submission to answer. */
import { metered } from '../meter.ts';
import { offer } from '../offer.ts';
import { type Context, type Sample, type Trial, warmedUp, workSample } from '../trial.ts';
import type { Load, Outcome } from '../work.ts';
import { publishAgent, scriptOf, submitRun } from './signalbox-agent.ts';
import { type Signalbox, withSignalbox } from './signalbox.ts';

/** A client that submits and waits for the end. */
const runOnce = async (signalbox: Signalbox): Promise<void> => {
  const id = await submitRun(signalbox);
  const answer = await signalbox.api.send('GET', `/v1/runs/${id}?wait=30`);
  if (!answer.includes('"succeeded"')) throw new Error(`The run did not succeed within 30 s: ${answer}`);
};

const measure = (context: Context, load: Omit<Load, 'until'>): Promise<Sample> =>
  withSignalbox(context, { workers: 1 }, async (signalbox) => {
    await publishAgent(signalbox, scriptOf(load.shape));
    const work = (order: Load): Promise<Outcome> => offer(order, () => runOnce(signalbox));
    await warmedUp(load, context.until, work);
    const measured = (): Promise<Outcome> => work({ ...load, until: context.until });
    return workSample(await metered(signalbox.groups, measured, { looks: false }));
  });

export const latencyTrial = (work: string, load: Omit<Load, 'until'>): Trial => ({
  work,
  subject: 'Signalbox',
  measure: (context) => measure(context, load),
});

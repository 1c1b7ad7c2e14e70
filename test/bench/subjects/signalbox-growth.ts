/** What a step costs in a journal of so many steps: the same in a short one and in a long one, or growth is not linear. */
import { metered } from '../meter.ts';
import { type Context, countedCpu, type Sample, type Trial } from '../trial.ts';
import { publishAgent, scriptOf } from './signalbox-agent.ts';
import { runAll } from './signalbox-runs.ts';
import { withSignalbox } from './signalbox.ts';

const AT_ONCE = 10;

/** So many steps in all, whatever the length: model calls with a tool call each, and the answer. */
const measure = (context: Context, steps: number): Promise<Sample> =>
  withSignalbox(context, {}, async (signalbox) => {
    const pairs = Math.floor((steps - 1) / 2);
    await publishAgent(signalbox, scriptOf({ steps: pairs, latencyMs: 0 }, 'lean'));
    const load = { shape: { steps: pairs, latencyMs: 0 }, inFlight: AT_ONCE };
    await runAll(signalbox, { ...load, until: { runs: Math.ceil(1000 / steps) } });
    const { value, ...usage } = await metered(signalbox.groups, () =>
      runAll(signalbox, { ...load, until: context.until }),
    );
    const done = value.runs * (2 * pairs + 1);
    return {
      window: usage.window,
      figures: { 'steps/s': done / value.seconds, 'CPU ms/step': (countedCpu(usage) * 1000) / done },
      cpuParts: Object.fromEntries([...usage.cpu].map(([name, cpu]) => [name, (cpu * 1000) / value.runs])),
    };
  });

export const growthTrial = (work: string, steps: number): Trial => ({
  work,
  subject: `Signalbox, journals of about ${steps} steps`,
  measure: (context) => measure(context, steps),
});

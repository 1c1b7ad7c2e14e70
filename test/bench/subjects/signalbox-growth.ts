/**
 * What a step costs in a journal of so many steps: the same in a short one and in a long one, or growth is not linear.
 */
import { metered } from '../meter.ts';
import { type Context, countedCpu, partsOf, type Sample, type Trial } from '../trial.ts';
import { publishAgent, scriptOf } from './signalbox-agent.ts';
import { runAll } from './signalbox-runs.ts';
import { type Signalbox, withSignalbox } from './signalbox.ts';

const AT_ONCE = 10;

const POLLS = 100;

/** The run that was made last: it is kept for a while after its end. */
const lastRun = async ({ partition: { redis, root } }: Signalbox): Promise<string> => {
  const records = await redis.keys(`${root}:run:*:events`);
  return records.toSorted().at(-1)?.split(':').at(-2) ?? '';
};

const bytesOf = async ({ partition: { redis, root } }: Signalbox, runId: string): Promise<number> => {
  const keys = await redis.keys(`${root}:run:${runId}*`);
  const sizes = await Promise.all(keys.map((key) => redis.memory('USAGE', key, 'SAMPLES', 0)));
  return sizes.reduce<number>((sum, size) => sum + Number(size), 0);
};

/** Of the api, by whoever looks at a run again and again. */
const pollMs = async ({ api, groups }: Signalbox, runId: string): Promise<number> => {
  const { cpu } = await metered(groups, async () => {
    for (let poll = 0; poll < POLLS; poll += 1) await api.send('GET', `/v1/runs/${runId}`);
  });
  return ((cpu.get('api') ?? 0) * 1000) / POLLS;
};

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
    const runId = await lastRun(signalbox);
    return {
      window: usage.window,
      figures: {
        'steps/s': done / value.seconds,
        'CPU ms/step': (countedCpu(usage) * 1000) / done,
        'Redis bytes/step': (await bytesOf(signalbox, runId)) / (2 * pairs + 1),
        'api CPU ms/poll': await pollMs(signalbox, runId),
      },
      cpuParts: partsOf(usage, value.runs),
    };
  });

export const growthTrial = (work: string, steps: number): Trial => ({
  work,
  subject: `Signalbox, journals of about ${steps} steps`,
  measure: (context) => measure(context, steps),
});

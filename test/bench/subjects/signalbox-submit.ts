/**
 * The submit path alone: as many submissions as the api takes, nobody works on them; all of it reaches Postgres. The
 * ceiling is measured right before, so that both met the same machine. A run keeps a sealed copy of its agent's spec, so
 * how long that is counts.
 */
import { join } from 'node:path';
import type { Context, Sample, Trial } from '../trial.ts';
import { prose, type Shape } from '../work.ts';
import { measureCeiling } from './hono-queue.ts';
import { publishAgent, scriptOf, submitRun } from './signalbox-agent.ts';
import { withSignalbox } from './signalbox.ts';
import { atHalf, saturate } from './submits.ts';

const measure = async (context: Context, instructions: string): Promise<Sample> => {
  const ceiling = await measureCeiling({ ...context, dir: join(context.dir, 'ceiling') });
  return withSignalbox(context, { workers: 0 }, async (signalbox) => {
    await publishAgent(signalbox, instructions);
    const send = (): Promise<string> => submitRun(signalbox);
    const own = await saturate(context.until, { groups: signalbox.groups, send });
    return {
      window: own.window,
      cpuParts: own.cpuParts,
      figures: {
        'requests/s': own.perSecond,
        'ceiling/s': ceiling.perSecond,
        '% of the ceiling': (100 * own.perSecond) / ceiling.perSecond,
        'CPU ms/request': own.cpuMs,
        'ceiling CPU ms': ceiling.cpuMs,
        ...(await atHalf(context.until, own, send)),
      },
    };
  });
};

const INSTRUCTIONS_BYTES = 1024;

export const submitTrials = (work: string, shape: Shape): Trial[] => [
  {
    work,
    subject: 'Signalbox, 1 KB of instructions',
    measure: (context) => measure(context, prose(INSTRUCTIONS_BYTES, 1)),
  },
  {
    work,
    subject: 'Signalbox, the script of W5 as instructions',
    measure: (context) => measure(context, scriptOf(shape)),
  },
];

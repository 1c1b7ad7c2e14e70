/** The agent whose runs are measured: a script that the mock provider plays in the worker. */
import { z } from 'zod';
import { MODEL_BYTES, type Shape, TOOL_BYTES } from '../work.ts';
import type { Signalbox } from './signalbox.ts';

const AGENT = 'bench';
const SUBMISSION = JSON.stringify({ agent: AGENT, input: 'Where is my order?', user_id: 'bench' });

/** Blanks cost the calculator next to nothing. */
const expression = (n: number, bytes: number): string => `${n} +`.padEnd(bytes - 2) + '1';

/**
 * A run ends with an answer, so it makes one model call more than `steps`. The script is short whatever the answers'
 * length, since each run keeps a sealed copy of its agent. `lean`: without text, for journals so long that the script
 * would be what is measured.
 */
export const scriptOf = ({ steps, latencyMs }: Shape, size: 'full' | 'lean' = 'full'): string => {
  const turns = Array.from({ length: steps }, (_, n) => ({
    ...(size === 'full' ? { text: `${n} orders were sent on monday. `, text_length: MODEL_BYTES } : {}),
    tool_calls: [
      { name: 'calculator', arguments: { expression: expression(n, size === 'full' ? TOOL_BYTES : 8) } },
    ],
    ...(latencyMs > 0 ? { delay_ms: latencyMs } : {}),
  }));
  return JSON.stringify({ turns: [...turns, { text: 'done' }] });
};

export const publishAgent = async ({ api }: Signalbox, script: string): Promise<void> => {
  const spec = {
    model: 'mock/script',
    instructions: script,
    tools: ['calculator'],
    limits: { max_steps: 1000, timeout_seconds: 3600 },
  };
  await api.send('PUT', `/v1/agents/${AGENT}`, JSON.stringify(spec));
};

const Accepted = z.object({ id: z.string() });

/** Answers the run's id. */
export const submitRun = async ({ api }: Pick<Signalbox, 'api'>): Promise<string> =>
  Accepted.parse(JSON.parse(await api.send('POST', '/v1/runs', SUBMISSION))).id;

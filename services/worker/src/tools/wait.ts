import { z } from 'zod';
import type { Tool } from './tool.ts';

const Arguments = z.strictObject({
  seconds: z
    .number()
    .min(0)
    .max(30 * 86_400),
});

/** Parks the run on a timer: no worker slot is held meanwhile. */
export const wait: Tool<z.infer<typeof Arguments>> = {
  name: 'wait',
  description: 'Waits for a number of seconds before you go on.',
  parameters: Arguments,
  timeoutMs: 1000,
  repeatable: () => true,
  dueAt: ({ seconds }, nowMs) => nowMs + Math.ceil(seconds * 1000),
  execute: async () => WAIT_OVER,
};

/** The result of a wait that is over. */
export const WAIT_OVER = 'The wait is over.';

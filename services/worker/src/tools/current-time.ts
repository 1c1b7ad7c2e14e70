import { z } from 'zod';
import { type Tool, ToolError } from './tool.ts';

const Arguments = z.strictObject({
  timezone: z.string().max(64).optional().describe('IANA name such as Europe/Berlin; UTC when left out'),
});

export const currentTime: Tool<z.infer<typeof Arguments>> = {
  name: 'current_time',
  description: 'Tells the current date and time.',
  parameters: Arguments,
  timeoutMs: 1000,
  repeatable: () => true,
  inline: true,
  execute: async ({ timezone = 'UTC' }, { clock }) => {
    const now = new Date(clock.now());
    try {
      const local = new Intl.DateTimeFormat('en-CA', {
        timeZone: timezone,
        dateStyle: 'full',
        timeStyle: 'long',
      }).format(now);
      return `${now.toISOString()} (${local})`;
    } catch {
      throw new ToolError('invalid_arguments', `Unknown time zone. Use an IANA name such as Europe/Berlin.`);
    }
  },
};

import { z } from 'zod';
import { builtInTools } from '../src/tools/index.ts';
import type { Tool, Toolbox, ToolContext } from '../src/tools/tool.ts';
import { createToolbox, anyTool } from '../src/tools/toolbox.ts';

const Arguments = z.object({ key: z.string() });

/** A toolbox whose `http_request` does what the test says. */
export const toolboxWith = (
  execute: (key: string, context: ToolContext) => Promise<string>,
  { repeatable = false } = {},
): Toolbox => {
  const own: Tool<z.infer<typeof Arguments>> = {
    name: 'http_request',
    description: 'A tool of the test.',
    parameters: Arguments,
    timeoutMs: 60_000,
    repeatable: () => repeatable,
    execute: ({ key }, context) => execute(key, context),
  };
  const rest = builtInTools({ allow: [] });
  const mine = createToolbox([anyTool(own)]);
  return {
    definitions: (names) => names.flatMap((name) => (name === own.name ? mine : rest).definitions([name])),
    plan: (call, options) => (call.name === own.name ? mine : rest).plan(call, options),
  };
};

/** A promise and what fulfils it. */
export const gate = (): { readonly opened: Promise<void>; open(): void } => {
  const { promise, resolve } = Promise.withResolvers<void>();
  return { opened: promise, open: resolve };
};

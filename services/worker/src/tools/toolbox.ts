import type { ToolDefinition } from '@signalbox/contracts';
import { messageOf } from '@signalbox/runtime';
import { z } from 'zod';
import { type PlannedCall, type Tool, type Toolbox, ToolError } from './tool.ts';

const REFUSED_TIMEOUT_MS = 1000;

const refused = (error: ToolError): PlannedCall => ({
  repeatable: true,
  inline: true,
  dueAt: null,
  timeoutMs: REFUSED_TIMEOUT_MS,
  run: () => Promise.reject(error),
});

const parseJson = (text: string): { ok: true; value: unknown } | { ok: false } => {
  try {
    // Providers send nothing at all for a call without arguments.
    return { ok: true, value: text.trim() === '' ? {} : JSON.parse(text) };
  } catch {
    return { ok: false };
  }
};

/** What a tool gives back may come from JSON.parse, and have another type than its own says. */
const textOf = ({ name }: { name: string }, result: unknown): string => {
  if (typeof result === 'string') return result;
  throw new ToolError(
    'tool_error',
    `The tool ${name} answered with no text but a value of type ${typeof result}. It may have taken effect.`,
  );
};

const planTool = <Args>(tool: Tool<Args>, text: string, nowMs: number): PlannedCall => {
  const json = parseJson(text);
  if (!json.ok)
    return refused(
      new ToolError(
        'invalid_arguments',
        `The arguments of ${tool.name} are not JSON. Call it again with a JSON object.`,
      ),
    );
  const parsed = tool.parameters.safeParse(json.value);
  if (!parsed.success) {
    return refused(
      new ToolError(
        'invalid_arguments',
        `Invalid arguments for ${tool.name}: ${z.prettifyError(parsed.error)}`,
      ),
    );
  }
  return {
    repeatable: tool.repeatable(parsed.data),
    inline: tool.inline ?? false,
    dueAt: tool.dueAt?.(parsed.data, nowMs) ?? null,
    timeoutMs: tool.timeoutMs,
    run: async (context) => textOf(tool, await tool.execute(parsed.data, context)),
  };
};

/** A schema throws where one of its own transforms or checks does, which arguments that nobody thought of can make it. */
const planSafely = <Args>(tool: Tool<Args>, text: string, nowMs: number): PlannedCall => {
  try {
    return planTool(tool, text, nowMs);
  } catch (error) {
    return refused(
      new ToolError('invalid_arguments', `Invalid arguments for ${tool.name}: ${messageOf(error)}`),
    );
  }
};

/** A tool of any arguments: the toolbox parses them, so nothing outside needs to know their type. */
export interface AnyTool {
  readonly definition: ToolDefinition;
  plan(text: string, nowMs: number): PlannedCall;
}

/** What every provider takes. */
const NAME = /^[a-zA-Z0-9_-]{1,64}$/;

/** As a model is told of them. Throws where that cannot be done: found when the worker starts, and not by a run. */
const parametersOf = <Args>({ name, parameters }: Tool<Args>): ToolDefinition['parameters'] => {
  if (!NAME.test(name))
    throw new Error(`A tool cannot be named ${JSON.stringify(name)}: use 1 to 64 of a-z A-Z 0-9 _ -.`);
  try {
    const { $schema: _, ...schema } = z.toJSONSchema(parameters, { io: 'input' });
    if (schema.type !== 'object') throw new Error('they are no object');
    return schema as unknown as ToolDefinition['parameters'];
  } catch (error) {
    throw new Error(
      `The parameters of tool ${name} cannot be told to a model: ${messageOf(error)}. Make them a z.object of what JSON has.`,
      { cause: error },
    );
  }
};

export const anyTool = <Args>(tool: Tool<Args>): AnyTool => {
  const { name, description } = tool;
  return {
    definition: { name, description, parameters: parametersOf(tool) },
    plan: (text, nowMs) => planSafely(tool, text, nowMs),
  };
};

/** Throws when two have one name: the model would be told of one and get the other. */
export const createToolbox = (tools: readonly AnyTool[]): Toolbox => {
  const byName = new Map(tools.map((tool) => [tool.definition.name, tool]));
  const names = tools.map(({ definition }) => definition.name);
  const twice = names.find((name, index) => names.indexOf(name) !== index);
  if (twice !== undefined) throw new Error(`Two tools are named ${twice}.`);
  return {
    definitions: (names) =>
      names.flatMap((name) => {
        const tool = byName.get(name);
        return tool === undefined ? [] : [tool.definition];
      }),
    plan: (call, { allowed, truncated, nowMs }) => {
      const tool = allowed.includes(call.name) ? byName.get(call.name) : undefined;
      if (tool === undefined) {
        return refused(
          new ToolError(
            'unknown_tool',
            `There is no tool with this name. You can use: ${allowed.join(', ') || 'none'}.`,
          ),
        );
      }
      if (truncated) {
        return refused(
          new ToolError(
            'invalid_arguments',
            'Your answer was cut off at the output limit inside this call, so it was not made. Call again, shorter.',
          ),
        );
      }
      return tool.plan(call.arguments, nowMs);
    },
  };
};

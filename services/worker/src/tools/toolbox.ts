import type { Json, ToolDefinition } from '@signalbox/contracts';
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
    run: (context) => tool.execute(parsed.data, context),
  };
};

/** A tool of any arguments: the toolbox parses them, so nothing outside needs to know their type. */
export interface AnyTool {
  readonly definition: ToolDefinition;
  plan(text: string, nowMs: number): PlannedCall;
}

export const anyTool = <Args>(tool: Tool<Args>): AnyTool => {
  const { $schema: _, ...parameters } = z.toJSONSchema(tool.parameters, { io: 'input' }) as unknown as Record<
    string,
    Json
  >;
  return {
    definition: { name: tool.name, description: tool.description, parameters },
    plan: (text, nowMs) => planTool(tool, text, nowMs),
  };
};

export const createToolbox = (tools: readonly AnyTool[]): Toolbox => {
  const byName = new Map(tools.map((tool) => [tool.definition.name, tool]));
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

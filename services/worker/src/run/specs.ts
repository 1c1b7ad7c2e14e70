import {
  type AgentSpec,
  type Json,
  SpecContent,
  type ToolDefinition,
  toolEntryName,
} from '@signalbox/contracts';
import { frameBytes } from '@signalbox/providers';
import type { JsonSchemas } from '@signalbox/runtime';
import { LRUCache } from 'lru-cache';
import type { Toolbox } from '../tools/index.ts';

/**
 * Agents as a worker's runs read them. Runs of one agent hold the same text, so it is read once for all of them: by
 * itself each would keep instructions that are most of what a waiting run needs.
 */

export interface ReadSpec {
  readonly spec: AgentSpec;
  readonly toolNames: readonly string[];
  /** What a model is told of them. */
  readonly tools: readonly ToolDefinition[];
  /** One of them that there is not: the agent is from before it went, or from after it came. */
  readonly missingTool: string | null;
  /** Of each request to a model. */
  frameBytes(model: string): number;
  /** Whether an answer is what `output_schema` asks for; one that takes too long to judge is not. */
  outputValid(tenantId: string, text: string): Promise<boolean>;
}

export type Specs = (text: string) => ReadSpec;

export interface SpecPorts {
  readonly toolbox: Toolbox;
  readonly schemas: JsonSchemas;
}

/** A spec has up to about 200 KB. */
const MOST_KNOWN = 64;

const outputCheck = (
  schemas: JsonSchemas,
  outputSchema: Record<string, Json> | null,
): ReadSpec['outputValid'] => {
  if (outputSchema === null) return () => Promise.resolve(true);
  const schema = JSON.stringify(outputSchema);
  return async (tenantId, text) => (await schemas.judge(tenantId, { schema, text })).type === 'fits';
};

const framesOf = (spec: AgentSpec, tools: readonly ToolDefinition[]): ReadSpec['frameBytes'] => {
  const known = new Map<string, number>();
  const { instructions, temperature, output_schema: outputSchema } = spec;
  return (model) => {
    const bytes =
      known.get(model) ??
      frameBytes({ model, instructions, tools, maxOutputTokens: 1, temperature, outputSchema });
    known.set(model, bytes);
    return bytes;
  };
};

const readSpec = (text: string, { toolbox, schemas }: SpecPorts): ReadSpec => {
  const spec = SpecContent.parse(JSON.parse(text));
  const toolNames = spec.tools.map(toolEntryName);
  const tools = toolbox.definitions(toolNames);
  const missingTool = toolNames.find((name) => toolbox.definitions([name]).length === 0) ?? null;
  const outputValid = outputCheck(schemas, spec.output_schema);
  return { spec, toolNames, tools, missingTool, frameBytes: framesOf(spec, tools), outputValid };
};

export const createSpecs = (ports: SpecPorts): Specs => {
  const known = new LRUCache<string, ReadSpec>({ max: MOST_KNOWN });
  return (text) => {
    const before = known.get(text);
    if (before !== undefined) return before;
    const read = readSpec(text, ports);
    known.set(text, read);
    return read;
  };
};

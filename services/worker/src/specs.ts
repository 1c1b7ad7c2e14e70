import {
  type AgentSpec,
  type Json,
  SpecContent,
  type ToolDefinition,
  toolEntryName,
} from '@signalbox/contracts';
import { frameBytes } from '@signalbox/providers';
import { BoundedMap } from '@signalbox/runtime';
import { Ajv2020 } from 'ajv/dist/2020.js';
import type { Toolbox } from './tools/index.ts';

/**
 * Agents as a worker's runs read them. Runs of one agent hold the same text, so it is read, and its schema compiled,
 * once for all of them: by itself each would keep instructions that are most of what a waiting run needs.
 */
export interface ReadSpec {
  readonly spec: AgentSpec;
  readonly toolNames: readonly string[];
  /** What a model is told of them. */
  readonly tools: readonly ToolDefinition[];
  /** Of each request to a model. */
  frameBytes(model: string): number;
  outputValid(text: string): boolean;
}

export type Specs = (text: string) => ReadSpec;

/** A spec has up to about 200 KB. */
const MOST_KNOWN = 64;

const outputCheck = (schema: Record<string, Json> | null): ((text: string) => boolean) => {
  if (schema === null) return () => true;
  const validate = new Ajv2020({ strict: false }).compile(schema);
  return (text) => {
    try {
      return validate(JSON.parse(text));
    } catch {
      return false;
    }
  };
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

const readSpec = (text: string, toolbox: Toolbox): ReadSpec => {
  const spec = SpecContent.parse(JSON.parse(text));
  const toolNames = spec.tools.map(toolEntryName);
  const tools = toolbox.definitions(toolNames);
  const outputValid = outputCheck(spec.output_schema);
  return { spec, toolNames, tools, frameBytes: framesOf(spec, tools), outputValid };
};

export const createSpecs = (toolbox: Toolbox): Specs => {
  const known = new BoundedMap<string, ReadSpec>(MOST_KNOWN);
  return (text) => {
    const before = known.get(text);
    if (before !== undefined) return before;
    const read = readSpec(text, toolbox);
    known.set(text, read);
    return read;
  };
};

import { z } from 'zod';
import { JsonValue } from './json.ts';
import { ModelRef } from './model-ref.ts';
import { CapUsd } from './money.ts';

export const AgentName = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,62}$/, 'expected 1-63 of a-z 0-9 . _ -, not starting with a sign');

const TOOL_NAMES = ['calculator', 'current_time', 'http_request', 'wait'] as const;
export const ToolName = z.enum(TOOL_NAMES);
export type ToolName = z.infer<typeof ToolName>;

/** A tool by its name, or with what this agent says of it. */
const ToolEntry = z.union([
  ToolName,
  z.strictObject({
    name: ToolName,
    repeatable: z
      .boolean()
      .default(false)
      .describe('A call whose end is not known, after a crash, may be made once more.'),
  }),
]);

/** Of a spec at rest, which outlives its tools: one that is no more must not keep the rest from being read. */
export const StoredToolEntry = z.union([
  z.string(),
  z.strictObject({ name: z.string(), repeatable: z.boolean().default(false) }),
]);

export const toolEntryName = (entry: z.infer<typeof StoredToolEntry>): string =>
  typeof entry === 'string' ? entry : entry.name;

const ToolEntries = z.array(ToolEntry).max(32).default([]);

const namesEachOnce = (entries: z.infer<typeof ToolEntries>): boolean =>
  new Set(entries.map(toolEntryName)).size === entries.length;

export const DEFAULT_LIMITS = { max_steps: 20, max_output_tokens: 1024, timeout_seconds: 600 } as const;

const unlessSaid = (limit: keyof typeof DEFAULT_LIMITS): string => `Default: ${DEFAULT_LIMITS[limit]}.`;

/** Limits as an agent or a submission states them; unset ones fall back to `DEFAULT_LIMITS` and caps. */
export const LimitsInput = z.strictObject({
  max_steps: z
    .int()
    .min(1)
    .max(1000)
    .optional()
    .describe(`Model calls and tool calls together. ${unlessSaid('max_steps')}`),
  max_output_tokens: z
    .int()
    .min(1)
    .max(200_000)
    .optional()
    .describe(`Of one model call, with what a model spends on reasoning. ${unlessSaid('max_output_tokens')}`),
  timeout_seconds: z
    .int()
    .min(1)
    .max(86_400)
    .optional()
    .describe(`At work; waiting does not count. ${unlessSaid('timeout_seconds')}`),
  cost_usd: CapUsd.optional().describe(
    'Of the whole run. Default: run_usd of the caps of its user and tenant.',
  ),
});
export type LimitsInput = z.infer<typeof LimitsInput>;

/** What an agent is. Versions are immutable: same content, same version. */
export const AgentSpec = z.strictObject({
  instructions: z.string().max(200_000).default('').describe('Goes before the conversation at each call.'),
  model: ModelRef,
  fallbacks: z.array(ModelRef).max(5).default([]).describe('Asked in turn when a model fails.'),
  // Providers refuse a name that is there twice.
  tools: ToolEntries.refine(namesEachOnce, 'expected each tool once'),
  limits: LimitsInput.default({}),
  temperature: z
    .number()
    .min(0)
    .max(2)
    .nullable()
    .default(null)
    .describe('Null: none is sent. Models that reason refuse one, fallbacks too.'),
  output_schema: z
    .record(z.string(), JsonValue)
    .nullable()
    .default(null)
    .describe('JSON Schema of the output. An answer that does not follow it is asked for again.'),
  cost_intent: z.enum(['free', 'paid']).default('paid').describe('free: a model with a price is refused.'),
});
/** Also as it was stored. */
export type AgentSpec = Omit<z.infer<typeof AgentSpec>, 'tools'> & {
  tools: z.infer<typeof StoredToolEntry>[];
};

/** The associated data of a sealed spec and its key (AAD), so that neither passes for another agent's. */
export const agentAad = (tenantId: string, name: string): string => `agent:${tenantId}/${name}`;

/** The same for a provider key. */
export const providerKeyAad = (tenantId: string, provider: string): string =>
  `provider-key:${tenantId}/${provider}`;

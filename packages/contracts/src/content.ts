import { z } from 'zod';
import { RunInput } from './run.ts';
import { AgentSpec, LimitsInput, StoredToolEntry } from './agent.ts';
import { Usd } from './money.ts';

/**
 * What is sealed with a run's key. An event names each piece by its ref, `sha256:<hex of the ciphertext>`,
 * so erasing the key leaves the chain whole (Contents).
 */

export const SubmissionContent = z.object({ input: RunInput, metadata: z.record(z.string(), z.string()) });
export type SubmissionContent = z.infer<typeof SubmissionContent>;

/** Written before a cost of more than 9 decimals and a tool named twice were refused, it may have them. */
export const SpecContent = AgentSpec.extend({
  tools: z.array(StoredToolEntry).default([]),
  limits: LimitsInput.extend({ cost_usd: Usd.optional() }).default({}),
});

export const ToolCall = z.object({
  /** The provider's id of the call; unique within one answer. */
  id: z.string(),
  name: z.string(),
  /** Arguments exactly as the model wrote them: maybe not JSON. */
  arguments: z.string(),
  /** What its provider gave with the call and wants back, as JSON: nobody else can read it, or is sent it. */
  extra_content: z.string().exactOptional(),
});
export type ToolCall = z.infer<typeof ToolCall>;

/** What a model answered. */
export const AnswerContent = z.object({ text: z.string(), tool_calls: z.array(ToolCall) });
export type AnswerContent = z.infer<typeof AnswerContent>;

/** What a tool gave back, as the model will read it. */
export const ToolResultContent = z.object({ text: z.string(), is_error: z.boolean() });
export type ToolResultContent = z.infer<typeof ToolResultContent>;

import { z } from 'zod';
import { JsonValue } from './json.ts';
import { Usage } from './run.ts';

/** One step of `GET /v1/runs/{id}/steps`. Contents are null without `content:read`. */
export const Step = z.object({
  index: z.int(),
  kind: z.enum(['llm', 'tool']),
  name: z.string(),
  status: z.enum(['open', 'completed', 'again', 'given_up', 'failed']),
  attempts: z.int(),
  /** Of a model call: the messages added since the call before it. Of a tool: its arguments. */
  input: JsonValue,
  output: JsonValue,
  usage: Usage.nullable(),
  cost_estimate_usd: z.number(),
  cost_observed_usd: z.number(),
  price_version: z.string().nullable(),
  /** The run a fork took the step over from; what it cost there is not counted here. */
  taken_from: z.string().nullable(),
  started_at: z.string(),
  finished_at: z.string().nullable(),
});
export type Step = z.infer<typeof Step>;

import { z } from 'zod';
import { AgentSpec, LimitsInput } from './agent.ts';
import { withFewKeys } from './few-keys.ts';
import { Instant } from './instant.ts';
import { JsonValue } from './json.ts';

export const RUN_STATUSES = ['queued', 'running', 'waiting', 'succeeded', 'failed', 'aborted'] as const;
export const RunStatus = z.enum(RUN_STATUSES);
export type RunStatus = z.infer<typeof RunStatus>;

export const TERMINAL_STATUSES = ['succeeded', 'failed', 'aborted'] as const;
export type TerminalStatus = (typeof TERMINAL_STATUSES)[number];
export const isTerminal = (status: RunStatus): status is TerminalStatus =>
  status === 'succeeded' || status === 'failed' || status === 'aborted';

export const WaitReason = z.enum(['approval', 'children', 'timer', 'input', 'capacity']);
export type WaitReason = z.infer<typeof WaitReason>;

export const Priority = z.enum(['high', 'normal', 'low']);
export type Priority = z.infer<typeof Priority>;

const Text = z.string().max(1_000_000);

/** A message of the submitted conversation. */
const InputMessage = z.strictObject({ role: z.enum(['user', 'assistant']), content: Text });

export const RunInput = z.union([Text, z.array(InputMessage).min(1).max(1000)]);
export type RunInput = z.infer<typeof RunInput>;

const AgentRef = z
  .string()
  .regex(/^[a-z0-9][a-z0-9._-]{0,62}(@[1-9][0-9]{0,8})?$/, 'expected an agent name or name@version');

const Label = z.string().min(1).max(256);

const Metadata = withFewKeys(50, z.record(z.string().max(64), z.string().max(512)));

/** Every user's caps have an address, and a URL knows no segment `.` or `..`, encoded or not. */
const UserId = Label.regex(
  /^(?!\.{1,2}$)/,
  'must not be . or .., which clients take out of /v1/caps/users/{user_id}',
);

/** Body of `POST /v1/runs`. */
export const RunSubmission = z.strictObject({
  agent: z.union([AgentRef, AgentSpec]).describe('name, name@version, or a spec for this run alone.'),
  input: RunInput,
  user_id: UserId.nullish().describe('Whose caps count beside those of the tenant.'),
  session_id: Label.nullish().describe('For lists: groups runs.'),
  metadata: Metadata.default({}),
  priority: Priority.default('normal'),
  run_at: Instant.nullish().describe('Not before then.'),
  limits: LimitsInput.default({}).describe('May only tighten those of the agent.'),
});
export type RunSubmission = z.infer<typeof RunSubmission>;

/** Limits of a run, resolved: nothing optional. */
export const RunLimits = z.object({
  max_steps: z.int(),
  max_output_tokens: z.int(),
  timeout_seconds: z.int(),
});
export type RunLimits = z.infer<typeof RunLimits>;

export const Usage = z.object({
  /** All input tokens, cache reads and writes included. */
  input_tokens: z.int().min(0),
  output_tokens: z.int().min(0),
  cache_read_tokens: z.int().min(0),
  cache_write_tokens: z.int().min(0),
});
export type Usage = z.infer<typeof Usage>;

export const NO_USAGE: Usage = {
  input_tokens: 0,
  output_tokens: 0,
  cache_read_tokens: 0,
  cache_write_tokens: 0,
};

/** A run as the API returns it. Money in USD, times RFC 3339 UTC. */
export const Run = z.object({
  id: z.string(),
  object: z.literal('run'),
  status: RunStatus,
  waiting_for: WaitReason.nullable(),
  error: z
    .object({
      code: z.string(),
      message: z.string(),
      step: z.int().optional(),
      details: z.record(z.string(), JsonValue).optional(),
    })
    .nullable(),
  agent: z.object({ name: z.string().nullable(), version: z.int().nullable() }),
  user_id: z.string().nullable(),
  session_id: z.string().nullable(),
  metadata: z.record(z.string(), z.string()),
  input: RunInput.nullable(),
  output: z.string().nullable(),
  steps: z.int(),
  usage: Usage,
  cost: z.object({
    cap_usd: z.number().nullable(),
    observed_usd: z.number().describe('Spent.'),
    held_usd: z.number().describe('Held for calls under way, at their worst case.'),
    estimated: z.boolean().describe('Some provider gave no usage, so its call was charged at a bound.'),
  }),
  /** Who asked for the abort and, once it took effect, its receipt. */
  abort: z
    .object({
      requested_at: z.string(),
      by: z.string(),
      reason: z.string().nullable(),
      effective_at: z.string().nullable(),
      caught: z.enum(['before_start', 'between_steps', 'in_flight']).nullable(),
      call_closed: z.boolean().nullable(),
      settled_usd: z.number().nullable(),
    })
    .nullable(),
  epoch: z.int(),
  parent_run_id: z.string().nullable(),
  forked_from: z.string().nullable(),
  created_at: z.string(),
  started_at: z.string().nullable(),
  finished_at: z.string().nullable(),
  /** Since when what was said in it is erased; what it did and cost stays. */
  content_erased_at: z.string().nullable(),
  content_error: z
    .enum(['encryption_key_missing', 'content_damaged'])
    .optional()
    .describe('Why input and output, which are not erased, are not shown.'),
});
export type Run = z.infer<typeof Run>;

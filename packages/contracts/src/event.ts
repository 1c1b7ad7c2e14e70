import { z } from 'zod';
import { JsonValue } from './json.ts';
import { NanoAmount } from './money.ts';
import { Priority, RunLimits, Usage, WaitReason } from './run.ts';

/**
 * The journal's entries. `data` holds what decisions need and nothing secret (R13); what was said is
 * sealed and named by `refs`. Every value that came from outside the journal (time, headroom, chosen
 * limits, retry choices) is in here, so that `fold` and `next` read only events (Replay).
 */
export const Actor = z.object({ type: z.enum(['system', 'agent', 'user', 'operator']), id: z.string() });
export type Actor = z.infer<typeof Actor>;

const Step = z.int().min(1);
const Attempt = z.int().min(1);

/** Worst case reserved for one attempt; id is `run:step:attempt`. `day` is the tenant's day it counts for. */
export const Hold = z.object({
  id: z.string(),
  amount_nano: NanoAmount,
  day: z.iso.date(),
  price_version: z.string(),
});
export type Hold = z.infer<typeof Hold>;

/** How a hold ended. `estimated`: the provider gave no usage that can be true, so the bound or the hold was charged. */
export const Settlement = z.object({
  hold_id: z.string(),
  observed_nano: NanoAmount,
  estimated: z.boolean(),
});
export type Settlement = z.infer<typeof Settlement>;

export const FinishReason = z.enum(['stop', 'tool_calls', 'length', 'refusal']);
export type FinishReason = z.infer<typeof FinishReason>;

/** Why the model is told something before it is asked again: an unusable answer, or the same call over and over. */
export const Nudge = z.enum(['empty', 'truncated', 'schema', 'loop']);
export type Nudge = z.infer<typeof Nudge>;

export const CapScope = z.enum(['run', 'user_day', 'user_month', 'tenant_day', 'tenant_month']);
export type CapScope = z.infer<typeof CapScope>;

const Denial = z.object({
  step: Step,
  code: z.enum(['cost_cap_exceeded', 'price_unknown', 'cap_missing']),
  scope: CapScope.nullable(),
  cap_nano: NanoAmount.nullable(),
  spent_nano: NanoAmount,
  held_nano: NanoAmount,
  need_nano: NanoAmount,
  resets_at: z.string().nullable(),
});

/** A step that a fork took over from its origin: the event it is a copy of. It costs nothing here. */
export const TakenFrom = z.object({ run_id: z.string(), seq: z.int().min(1), hash: z.string() });
export type TakenFrom = z.infer<typeof TakenFrom>;

const Taken = { taken_from: TakenFrom.optional() };

export const FORK_CHANGES = ['model', 'instructions', 'input', 'tool_output', 'limits'] as const;

const CallEnd = z.object({
  step: Step,
  attempt: Attempt,
  model: z.string(),
  settlement: Settlement.nullable(),
  usage: Usage,
  duration_ms: z.int().min(0),
});

const ToolStep = z.object({ step: Step, attempt: Attempt, call_id: z.string(), name: z.string() });
const ToolEnd = ToolStep.extend({
  duration_ms: z.int().min(0),
  /** HMAC of the result under the run's key. */
  result_digest: z.string(),
  ...Taken,
});

/**
 * What a repeated request is known again by: HMACs of its Idempotency-Key and its body under a key of the service, so
 * that they tell nothing of either (R13). In the journal, since a loss of run state must not forget it.
 */
export const IdempotencyMark = z.object({ key_digest: z.string(), fingerprint: z.string() });
export type IdempotencyMark = z.infer<typeof IdempotencyMark>;

export const EVENT_DATA = {
  'run.submitted': z.object({
    tenant_id: z.string(),
    agent: z.object({ name: z.string().nullable(), version: z.int().nullable() }),
    /** HMAC of the spec under the run's key. */
    spec_digest: z.string(),
    model: z.string(),
    fallbacks: z.array(z.string()),
    limits: RunLimits,
    /** Null: the run tree has no cap of its own. */
    cap_nano: NanoAmount.nullable(),
    user_id: z.string().nullable(),
    session_id: z.string().nullable(),
    parent_run_id: z.string().nullable(),
    forked_from: z.string().nullable(),
    /** Of a fork: the first step that is its own, and what is changed from there on. */
    fork: z.object({ from_step: Step, changed: z.array(z.enum(FORK_CHANGES)) }).optional(),
    priority: Priority,
    run_at: z.string().nullable(),
    traceparent: z.string().nullable(),
    idempotency: IdempotencyMark.optional(),
  }),
  'run.claimed': z.object({
    worker: z.string(),
    wake_seq: z.int(),
    resumed: z.boolean(),
    /** Which code works on the run from here on. */
    build: z.string().optional(),
  }),
  'run.parked': z.object({
    reason: WaitReason,
    until: z.string().nullable(),
    /** For `capacity` without a denied cost: no call is announced until the journal is stored (R9). */
    cause: z.literal('audit_backlog').optional(),
  }),
  'run.woken': z.object({
    reason: WaitReason,
    /** With a timer: when the store found it due, by its own clock, whatever the owner's clock says. */
    at: z.string().optional(),
    /** It did not come about: the run had waited since then, which is too long. */
    expired_since: z.string().optional(),
  }),
  'run.handed_over': z.object({ reason: z.enum(['drain', 'time_slice', 'error']) }),
  'run.abort_requested': z.object({
    requested_at: z.string(),
    by: z.string(),
    reason: z.string().nullable(),
  }),
  'run.succeeded': z.object({ steps: z.int() }),
  'run.failed': z.object({
    code: z.string(),
    message: z.string(),
    step: Step.optional(),
    details: z.record(z.string(), JsonValue).optional(),
  }),
  /** With `run.abort_requested` the receipt of the abort: when it took effect, where, and what it cost. */
  'run.aborted': z.object({
    caught: z.enum(['before_start', 'between_steps', 'in_flight']),
    /** An open call (of a model or a tool) was closed by the abort. */
    call_closed: z.boolean(),
    /** What the calls closed or given up by the abort were charged. */
    settled_nano: NanoAmount,
  }),
  'llm.requested': z.object({
    step: Step,
    attempt: Attempt,
    model: z.string(),
    max_output_tokens: z.int().min(1),
    /** Upper bound of the input in tokens (Money). */
    input_bound: z.int().min(0),
    temperature: z.number().nullable(),
    tools: z.array(z.string()),
    nudge: Nudge.nullable(),
    /** Rolling HMAC over everything the model is sent. */
    request_digest: z.string(),
    hold: Hold.nullable(),
    /** Whose key the call is made with; not there where none is needed. */
    provider_key: z.object({ source: z.enum(['env', 'vault']), id: z.string().nullable() }).optional(),
    ...Taken,
    /** With taken_from: whether its limit was lowered to fit under a cap. The limits of a fork do not tell. */
    limit_lowered: z.boolean().optional(),
  }),
  'llm.completed': CallEnd.extend({
    model_served: z.string(),
    finish_reason: FinishReason,
    tool_calls: z.array(z.object({ call_id: z.string(), name: z.string(), args_digest: z.string() })),
    /** False when the agent's output_schema refused the text. */
    output_valid: z.boolean(),
    /** True when the answer holds text. */
    has_text: z.boolean(),
    provider_request_id: z.string().nullable(),
    ...Taken,
  }),
  'llm.failed': CallEnd.extend({
    code: z.string(),
    message: z.string(),
    http_status: z.int().nullable(),
    /** What the worker decided: try the same model again, take the next fallback, or give up. */
    decision: z.enum(['retry', 'fallback', 'give_up']),
    retry_at: z.string().nullable(),
  }),
  'tool.requested': ToolStep.extend({
    /** Safe to repeat with the same idempotency key after a crash. */
    repeatable: z.boolean(),
    idempotency_key: z.string(),
    /** Set for `wait`: when the result is due. */
    due_at: z.string().nullable(),
    ...Taken,
  }),
  'tool.completed': ToolEnd,
  'tool.failed': ToolEnd.extend({ code: z.string() }),
  'cost.denied': Denial,
  'cost.expired': z.object({ step: Step, attempt: Attempt, model: z.string(), settlement: Settlement }),
  'approval.requested': z.object({ approval_id: z.string(), step: Step }),
  'approval.decided': z.object({ approval_id: z.string(), approved: z.boolean(), by: z.string() }),
  'guardrail.tripped': z.object({ name: z.string(), step: Step.nullable() }),
  handoff: z.object({ from: z.string(), to: z.string() }),
  'child.spawned': z.object({ child_run_id: z.string(), step: Step }),
  'child.finished': z.object({ child_run_id: z.string(), status: z.string() }),
} as const;

export type EventType = keyof typeof EVENT_DATA;
export const EVENT_TYPES = Object.keys(EVENT_DATA) as readonly EventType[];
export type EventData<T extends EventType> = z.infer<(typeof EVENT_DATA)[T]>;

/** `prev` of the first event of a chain. */
export const GENESIS = '0'.repeat(64);

/** Who reads a chain makes the hash anew, so its digits need no look: a pattern would be a third of what parsing takes. */
const Hash = z.string().length(GENESIS.length);

const Envelope = z.object({
  run_id: z.string(),
  seq: z.int().min(1),
  epoch: z.int().min(0),
  ts: z.string(),
  actor: Actor,
  refs: z.record(z.string(), z.string()),
  prev: Hash,
  hash: Hash,
});

/** An event before the journal gave it its seq. */
export type EventDraft = {
  [T in EventType]: { type: T; data: EventData<T>; refs?: Record<string, string>; actor?: Actor };
}[EventType];

export type Event = {
  [T in EventType]: z.infer<typeof Envelope> & { type: T; data: EventData<T> };
}[EventType];

export type EventOf<T extends EventType> = Extract<Event, { type: T }>;

/** Nothing follows them (R7). */
export const TERMINAL_EVENTS: ReadonlySet<string> = new Set<EventType>([
  'run.succeeded',
  'run.failed',
  'run.aborted',
]);

const variants = EVENT_TYPES.map((type) =>
  Envelope.extend({ type: z.literal(type), data: EVENT_DATA[type] }),
);

/** Parses one event; throws a ZodError on anything else. */
export const Event = z.discriminatedUnion(
  'type',
  variants as [(typeof variants)[number]],
) as unknown as z.ZodType<Event>;

export const CATEGORIES = [
  'run',
  'llm',
  'tool',
  'cost',
  'abort',
  'approval',
  'guardrail',
  'handoff',
  'child',
  'admin',
] as const;
export type Category = (typeof CATEGORIES)[number];

/** The coarse class of an event, for filters and for `audit_events.category`. */
export const categoryOf = (type: EventType): Category => {
  if (type === 'run.abort_requested' || type === 'run.aborted') return 'abort';
  return type.split('.')[0] as Category;
};

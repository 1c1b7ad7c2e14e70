import { type EventData, type EventDraft, type Hold, NO_USAGE } from '@signalbox/contracts';
import { appendDrafts, EMPTY_HEAD } from '../src/journal/chain.ts';
import { fold } from '../src/run/fold.ts';
import type { RunState } from '../src/run/state.ts';

/** Drafts with everything filled in; a test names only what it is about. */
export const RUN_ID = `run_${'0'.repeat(32)}`;
export const EPOCH_START = Date.parse('2026-01-01T00:00:00.000Z');
const ACTOR = { type: 'system', id: 'worker-1' } as const;

export const isoAt = (ms: number): string => new Date(EPOCH_START + ms).toISOString();

export const submitted = (data: Partial<EventData<'run.submitted'>> = {}): EventDraft => ({
  type: 'run.submitted',
  data: {
    tenant_id: 'default',
    agent: { name: 'support', version: 1 },
    spec_digest: 'd0',
    model: 'mock/a',
    fallbacks: [],
    limits: { max_steps: 20, max_output_tokens: 1024, timeout_seconds: 600 },
    cap_nano: 1_000_000_000,
    user_id: null,
    session_id: null,
    parent_run_id: null,
    forked_from: null,
    priority: 'normal',
    run_at: null,
    traceparent: null,
    ...data,
  },
  refs: { submission: 'sha256:submission', spec: 'sha256:spec' },
});

export const claimed = (wakeSeq = 1): EventDraft => ({
  type: 'run.claimed',
  data: { worker: 'worker-1', wake_seq: wakeSeq, resumed: wakeSeq > 1 },
});

export const holdOf = (step: number, attempt: number, amount: number): Hold => ({
  id: `${RUN_ID}:${step}:${attempt}`,
  amount_nano: amount,
  day: '2026-01-01',
  price_version: 'p1',
});

export const llmRequested = (
  step: number,
  data: Partial<EventData<'llm.requested'>> = {},
): EventDraft & { type: 'llm.requested' } => ({
  type: 'llm.requested',
  data: {
    step,
    attempt: 1,
    model: 'mock/a',
    max_output_tokens: 1024,
    input_bound: 2000,
    temperature: null,
    tools: [],
    nudge: null,
    request_digest: `d${step}`,
    hold: holdOf(step, data.attempt ?? 1, 500),
    ...data,
  },
});

const callEnd = (step: number, attempt: number) => ({
  step,
  attempt,
  model: 'mock/a',
  settlement: { hold_id: `${RUN_ID}:${step}:${attempt}`, observed_nano: 100, estimated: false },
  usage: { ...NO_USAGE, input_tokens: 10, output_tokens: 5 },
  duration_ms: 20,
});

export const llmCompleted = (
  step: number,
  data: Partial<EventData<'llm.completed'>> = {},
): EventDraft & { type: 'llm.completed' } => ({
  type: 'llm.completed',
  data: {
    ...callEnd(step, data.attempt ?? 1),
    model_served: 'a',
    finish_reason: (data.tool_calls ?? []).length > 0 ? 'tool_calls' : 'stop',
    tool_calls: [],
    output_valid: true,
    has_text: true,
    provider_request_id: null,
    ...data,
  },
  refs: { output: `sha256:output-${step}` },
});

export const llmFailed = (
  step: number,
  data: Partial<EventData<'llm.failed'>> = {},
): EventDraft & { type: 'llm.failed' } => ({
  type: 'llm.failed',
  data: {
    ...callEnd(step, data.attempt ?? 1),
    code: 'provider_error',
    message: 'overloaded',
    http_status: 529,
    decision: 'retry',
    retry_at: null,
    ...data,
  },
});

export const costExpired = (step: number, attempt = 1): EventDraft => ({
  type: 'cost.expired',
  data: {
    step,
    attempt,
    model: 'mock/a',
    settlement: { hold_id: `${RUN_ID}:${step}:${attempt}`, observed_nano: 500, estimated: true },
  },
});

export const toolCall = (callId: string, name = 'calculator', args = callId) => ({
  call_id: callId,
  name,
  args_digest: `args-${args}`,
});

export const toolRequested = (
  step: number,
  callId: string,
  data: Partial<EventData<'tool.requested'>> = {},
): EventDraft & { type: 'tool.requested' } => ({
  type: 'tool.requested',
  data: {
    step,
    attempt: 1,
    call_id: callId,
    name: 'calculator',
    repeatable: true,
    idempotency_key: `${RUN_ID}:${step}:${callId}`,
    due_at: null,
    ...data,
  },
});

export const toolCompleted = (
  step: number,
  callId: string,
  attempt = 1,
): EventDraft & { type: 'tool.completed' } => ({
  type: 'tool.completed',
  data: { step, attempt, call_id: callId, name: 'calculator', duration_ms: 5, result_digest: 'r' },
  refs: { result: `sha256:result-${step}` },
});

export const toolFailed = (
  step: number,
  callId: string,
  attempt = 1,
  code = 'tool_error',
): EventDraft & { type: 'tool.failed' } => ({
  ...toolCompleted(step, callId, attempt),
  type: 'tool.failed',
  data: { ...toolCompleted(step, callId, attempt).data, code },
});

export const abortRequested = (): EventDraft => ({
  type: 'run.abort_requested',
  data: { requested_at: isoAt(0), by: 'key_1', reason: null },
});

export const aborted = (data: Partial<EventData<'run.aborted'>> = {}): EventDraft => ({
  type: 'run.aborted',
  data: { caught: 'before_start', call_closed: false, settled_nano: 0, ...data },
});

/** The state after drafts written one second apart, the first at `isoAt(0)`. */
export const stateAfter = (...drafts: readonly EventDraft[]): RunState => {
  let head = EMPTY_HEAD;
  const events = drafts.flatMap((draft, index) => {
    const context = { runId: RUN_ID, epoch: 1, ts: isoAt(index * 1000), actor: ACTOR };
    const appended = appendDrafts(head, [draft], context);
    head = appended.head;
    return appended.events;
  });
  return fold(events);
};

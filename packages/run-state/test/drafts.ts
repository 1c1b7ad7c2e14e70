import { type EventData, type EventDraft, type Hold, NO_USAGE, type WaitReason } from '@signalbox/contracts';

/** Drafts with everything filled in; a test names only what it is about. */
export const DAY = '2026-01-01';

export const submitted = (data: Partial<EventData<'run.submitted'>> = {}): EventDraft => ({
  type: 'run.submitted',
  data: {
    tenant_id: 'acme',
    agent: { name: 'support', version: 1 },
    spec_digest: 'd0',
    model: 'mock/echo',
    fallbacks: [],
    limits: { max_steps: 20, max_output_tokens: 1024, timeout_seconds: 600 },
    cap_nano: null,
    user_id: null,
    session_id: null,
    parent_run_id: null,
    forked_from: null,
    priority: 'normal',
    run_at: null,
    traceparent: null,
    ...data,
  },
});

export const claimed = (wakeSeq = 1): EventDraft => ({
  type: 'run.claimed',
  data: { worker: 'worker-1', wake_seq: wakeSeq, resumed: false },
});

export const requested = (step: number, hold: Hold | null = null): EventDraft => ({
  type: 'llm.requested',
  data: {
    step,
    attempt: 1,
    model: 'mock/echo',
    max_output_tokens: 1024,
    input_bound: 2000,
    temperature: null,
    tools: [],
    nudge: null,
    request_digest: `d${step}`,
    hold,
  },
});

export const completed = (step: number): EventDraft => ({
  type: 'llm.completed',
  data: {
    step,
    attempt: 1,
    model: 'mock/echo',
    settlement: null,
    usage: NO_USAGE,
    duration_ms: 20,
    model_served: 'mock/echo',
    finish_reason: 'stop',
    tool_calls: [],
    output_valid: true,
    has_text: true,
    provider_request_id: null,
  },
});

export const succeeded = (): EventDraft => ({ type: 'run.succeeded', data: { steps: 1 } });
export const aborted = (): EventDraft => ({
  type: 'run.aborted',
  data: { caught: 'between_steps', call_closed: false, settled_nano: 0 },
});
export const woken = (reason: WaitReason = 'timer'): EventDraft => ({ type: 'run.woken', data: { reason } });
export const parked = (reason: WaitReason): EventDraft => ({
  type: 'run.parked',
  data: { reason, until: null },
});
export const handedOver = (): EventDraft => ({ type: 'run.handed_over', data: { reason: 'drain' } });
/** A request to stop, as the flag of the run says it. */
export const FLAG = { requested_at: '2026-01-01T00:00:00.000Z', by: 'key_1', reason: null };
export const abortRequested = (): EventDraft => ({ type: 'run.abort_requested', data: FLAG });

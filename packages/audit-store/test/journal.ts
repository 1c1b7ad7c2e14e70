/** Journals for tests: real chains, made by the engine. */
import { randomBytes } from 'node:crypto';
import {
  type AuditRecord,
  type Entry,
  type Event,
  type EventDraft,
  NO_USAGE,
  newId,
  type Settlement,
} from '@signalbox/contracts';
import { appendDrafts, EMPTY_HEAD, type Head } from '@signalbox/engine';

export const TENANT = 'acme';
export const MODEL = 'openai/gpt-4o-mini';
const START = Date.UTC(2026, 10, 21, 9, 0, 0);

type DataOf<T extends EventDraft['type']> = Extract<EventDraft, { type: T }>['data'];

export const submitted = (data: Partial<DataOf<'run.submitted'>> = {}): EventDraft => ({
  type: 'run.submitted',
  refs: { submission: 'sha256:submission', spec: 'sha256:spec' },
  data: {
    tenant_id: TENANT,
    agent: { name: 'support', version: 3 },
    spec_digest: 'spec',
    model: MODEL,
    fallbacks: [],
    limits: { max_steps: 20, max_output_tokens: 1024, timeout_seconds: 600 },
    cap_nano: 1_000_000_000,
    user_id: 'u1',
    session_id: 's1',
    parent_run_id: null,
    forked_from: null,
    priority: 'normal',
    run_at: null,
    traceparent: null,
    ...data,
  },
});

export const claimed = (): EventDraft => ({
  type: 'run.claimed',
  data: { worker: 'w1', wake_seq: 1, resumed: false },
});

export const succeeded = (steps: number): EventDraft => ({ type: 'run.succeeded', data: { steps } });

export const holdId = (runId: string, step: number, attempt = 1): string => `${runId}:${step}:${attempt}`;

export interface Call {
  readonly runId: string;
  readonly step: number;
  readonly attempt?: number;
  readonly nano?: number;
  readonly day?: string;
  readonly model?: string;
  /** Of one that was completed. */
  readonly estimated?: boolean;
}

export const requested = ({
  runId,
  step,
  attempt = 1,
  nano = 5_000_000,
  day = '2026-11-21',
  model = MODEL,
}: Call): EventDraft => ({
  type: 'llm.requested',
  data: {
    step,
    attempt,
    model,
    max_output_tokens: 100,
    input_bound: 2000,
    temperature: null,
    tools: [],
    nudge: null,
    request_digest: 'request',
    hold: { id: holdId(runId, step, attempt), amount_nano: nano, day, price_version: 'prices-1' },
  },
});

const settlement = ({ runId, step, attempt = 1, nano = 2_100_000 }: Call, estimated = false): Settlement => ({
  hold_id: holdId(runId, step, attempt),
  observed_nano: nano,
  estimated,
});

export const completed = (call: Call): EventDraft => ({
  type: 'llm.completed',
  refs: { output: `sha256:output-${call.step}` },
  data: {
    step: call.step,
    attempt: call.attempt ?? 1,
    model: call.model ?? MODEL,
    model_served: 'gpt-4o-mini-2024-07-18',
    settlement: settlement(call, call.estimated),
    usage: { input_tokens: 100, output_tokens: 20, cache_read_tokens: 30, cache_write_tokens: 0 },
    duration_ms: 800,
    finish_reason: 'stop',
    tool_calls: [],
    has_text: true,
    output_valid: true,
    provider_request_id: null,
  },
});

export const callFailed = (call: Call): EventDraft => ({
  type: 'llm.failed',
  data: {
    step: call.step,
    attempt: call.attempt ?? 1,
    model: call.model ?? MODEL,
    settlement: settlement(call, true),
    usage: NO_USAGE,
    duration_ms: 10,
    code: 'provider_error',
    message: 'the provider answered 500',
    http_status: 500,
    decision: 'retry',
    retry_at: null,
  },
});

export const expired = (call: Call): EventDraft => ({
  type: 'cost.expired',
  data: {
    step: call.step,
    attempt: call.attempt ?? 1,
    model: call.model ?? MODEL,
    settlement: settlement(call, true),
  },
});

export const toolRequested = (step: number): EventDraft => ({
  type: 'tool.requested',
  data: {
    step,
    attempt: 1,
    call_id: `call-${step}`,
    name: 'calculator',
    repeatable: true,
    idempotency_key: `key-${step}`,
    due_at: null,
  },
});

export const toolCompleted = (step: number): EventDraft => ({
  type: 'tool.completed',
  refs: { result: `sha256:result-${step}` },
  data: {
    step,
    attempt: 1,
    call_id: `call-${step}`,
    name: 'calculator',
    duration_ms: 1,
    result_digest: 'result',
  },
});

/** A run id made at this instant. */
export const runIdAt = (ms: number): string =>
  `run_${ms.toString(16).padStart(12, '0')}7${randomBytes(10).toString('hex').slice(1)}`;

export interface Journal {
  readonly runId: string;
  readonly entries: readonly Entry[];
  readonly events: readonly Event[];
}

/** A chain of these events, a second apart. */
export const journalOf = (runId: string, drafts: readonly EventDraft[], startMs = START): Journal => {
  let head: Head = EMPTY_HEAD;
  const entries: Entry[] = [];
  const events: Event[] = [];
  for (const [index, draft] of drafts.entries()) {
    const ts = new Date(startMs + index * 1000).toISOString();
    const context = { runId, epoch: 1 + index, ts, actor: { type: 'system', id: 'test' } } as const;
    const appended = appendDrafts(head, [draft], context);
    entries.push(...appended.entries);
    events.push(...appended.events);
    head = appended.head;
  }
  return { runId, entries, events };
};

/** submitted, one paid call, succeeded. */
export const simpleJournal = (runId = newId('run')): Journal =>
  journalOf(runId, [
    submitted(),
    claimed(),
    requested({ runId, step: 1 }),
    completed({ runId, step: 1 }),
    succeeded(1),
  ]);

let stream = 0;

export const recordOf = (
  runId: string,
  entries: readonly Entry[],
  more: Partial<AuditRecord> = {},
): AuditRecord => ({
  streamId: `${++stream}-0`,
  runId,
  tenantId: TENANT,
  userId: 'u1',
  agent: 'support',
  rootRunId: runId,
  wrappedKey: null,
  entries,
  contents: [],
  ...more,
});

/** One record per event: the finest commits there can be. */
export const recordsOf = ({ runId, entries }: Journal): AuditRecord[] =>
  entries.map((entry) => recordOf(runId, [entry]));

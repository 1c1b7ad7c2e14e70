import { type Event, type EventData, NO_USAGE, type Settlement, type Usage } from '@signalbox/contracts';
import { type Attempt, lastAttempt, type LlmStep, type RunState, type ToolStep } from './state.ts';

/** A journal that cannot have been written by this engine: a gap, a second start, a result without a call. */
export class JournalError extends Error {
  override readonly name = 'JournalError';
}

type Of<T extends Event['type']> = Extract<Event, { type: T }>;

const start = (event: Event): RunState => {
  if (event.type !== 'run.submitted' || event.seq !== 1) {
    throw new JournalError(
      `a journal starts with run.submitted at seq 1, not with ${event.type} at seq ${event.seq}`,
    );
  }
  const { data, refs, ts } = event;
  return {
    runId: event.run_id,
    submitted: data,
    limits: data.limits,
    submissionRef: refs['submission'] ?? '',
    specRef: refs['spec'] ?? '',
    seq: event.seq,
    hash: event.hash,
    epoch: event.epoch,
    status: data.run_at === null ? 'queued' : 'waiting',
    waitingFor: data.run_at === null ? null : 'timer',
    steps: [],
    turn: null,
    openTools: 0,
    nudges: 0,
    modelIndex: 0,
    failures: 0,
    usage: NO_USAGE,
    observedNano: 0,
    heldNano: 0,
    estimated: false,
    requestDigest: data.spec_digest,
    activeMs: 0,
    createdAt: ts,
    startedAt: null,
    finishedAt: null,
    lastTs: ts,
    abort: null,
    error: null,
    outputRef: null,
  };
};

const stepAt = (state: RunState, step: number): LlmStep | ToolStep => {
  const found = state.steps[step - 1];
  if (found === undefined) throw new JournalError(`run ${state.runId} has no step ${step}`);
  return found;
};

const llmStep = (state: RunState, step: number): LlmStep => {
  const found = stepAt(state, step);
  if (found.kind !== 'llm') throw new JournalError(`step ${step} of run ${state.runId} is no model call`);
  return found;
};

const toolStep = (state: RunState, step: number): ToolStep => {
  const found = stepAt(state, step);
  if (found.kind !== 'tool') throw new JournalError(`step ${step} of run ${state.runId} is no tool call`);
  return found;
};

const settle = (state: RunState, attempt: Attempt, settlement: Settlement | null): void => {
  if (settlement === null) return;
  if (attempt.settlement === null) state.heldNano -= attempt.hold?.amount_nano ?? 0;
  else state.observedNano -= attempt.settlement.observed_nano;
  attempt.settlement = settlement;
  state.observedNano += settlement.observed_nano;
  state.estimated ||= settlement.estimated;
};

const addUsage = (a: Usage, b: Usage): Usage => ({
  input_tokens: a.input_tokens + b.input_tokens,
  output_tokens: a.output_tokens + b.output_tokens,
  cache_read_tokens: a.cache_read_tokens + b.cache_read_tokens,
  cache_write_tokens: a.cache_write_tokens + b.cache_write_tokens,
});

const llmRequested = (state: RunState, { data, ts, epoch }: Of<'llm.requested'>): void => {
  const attempt = {
    attempt: data.attempt,
    model: data.model,
    startedAt: ts,
    epoch,
    hold: data.hold,
    maxOutputTokens: data.max_output_tokens,
    nudge: data.nudge,
    endedAt: null,
    settlement: null,
    code: null,
    usage: null,
  };
  state.heldNano += data.hold?.amount_nano ?? 0;
  state.requestDigest = data.request_digest;
  if (data.step <= state.steps.length) {
    const step = llmStep(state, data.step);
    step.attempts.push(attempt);
    step.status = 'open';
    return;
  }
  const step: LlmStep = {
    kind: 'llm',
    step: data.step,
    attempts: [attempt],
    status: 'open',
    retryAt: null,
    failure: null,
    finishReason: null,
    calls: [],
    hasText: false,
    outputValid: false,
    outputRef: null,
    tools: [],
  };
  state.nudges = data.nudge === null ? 0 : state.nudges + 1;
  state.steps.push(step);
  state.turn = step;
};

const endCall = (
  state: RunState,
  event: { ts: string; data: { step: number; settlement: Settlement | null; usage: Usage } },
): LlmStep => {
  const step = llmStep(state, event.data.step);
  const attempt = lastAttempt(step);
  settle(state, attempt, event.data.settlement);
  attempt.endedAt = event.ts;
  attempt.usage = event.data.usage;
  state.usage = addUsage(state.usage, event.data.usage);
  return step;
};

const llmCompleted = (state: RunState, event: Of<'llm.completed'>): void => {
  const step = endCall(state, event);
  step.status = 'completed';
  step.finishReason = event.data.finish_reason;
  step.calls = event.data.tool_calls;
  step.hasText = event.data.has_text;
  step.outputValid = event.data.output_valid;
  step.outputRef = event.refs['output'] ?? null;
  state.failures = 0;
};

const llmFailed = (state: RunState, event: Of<'llm.failed'>): void => {
  const step = endCall(state, event);
  lastAttempt(step).code = event.data.code;
  step.status = event.data.decision === 'give_up' ? 'given_up' : 'again';
  step.retryAt = event.data.retry_at;
  step.failure = event.data.message;
  state.failures = event.data.decision === 'retry' ? state.failures + 1 : 0;
  if (event.data.decision === 'fallback') state.modelIndex += 1;
};

const costExpired = (state: RunState, { data, ts }: Of<'cost.expired'>): void => {
  const step = llmStep(state, data.step);
  const attempt = step.attempts.find((a) => a.attempt === data.attempt);
  if (attempt === undefined) throw new JournalError(`step ${data.step} has no attempt ${data.attempt}`);
  settle(state, attempt, data.settlement);
  attempt.endedAt = ts;
  attempt.code = 'worker_lost';
  if (step.status === 'open') step.status = 'again';
};

const toolRequested = (state: RunState, { data, ts, epoch }: Of<'tool.requested'>): void => {
  const attempt = {
    attempt: data.attempt,
    startedAt: ts,
    epoch,
    hold: null,
    endedAt: null,
    settlement: null,
    code: null,
  };
  if (data.step <= state.steps.length) {
    toolStep(state, data.step).attempts.push(attempt);
    return;
  }
  const step: ToolStep = {
    kind: 'tool',
    step: data.step,
    callId: data.call_id,
    name: data.name,
    repeatable: data.repeatable,
    idempotencyKey: data.idempotency_key,
    dueAt: data.due_at,
    attempts: [attempt],
    status: 'open',
    resultRef: null,
  };
  state.steps.push(step);
  state.turn?.tools.push(step);
  state.openTools += 1;
};

const toolEnded = (state: RunState, event: Of<'tool.completed'> | Of<'tool.failed'>): void => {
  const step = toolStep(state, event.data.step);
  const attempt = lastAttempt(step);
  attempt.endedAt = event.ts;
  attempt.code = event.type === 'tool.failed' ? event.data.code : null;
  step.status = event.type === 'tool.failed' ? 'failed' : 'completed';
  step.resultRef = event.refs['result'] ?? null;
  state.openTools -= 1;
};

const finish = (state: RunState, event: Event, status: RunState['status']): void => {
  state.status = status;
  state.waitingFor = null;
  state.finishedAt = event.ts;
};

const toStatus = (
  state: RunState,
  status: RunState['status'],
  reason: RunState['waitingFor'] = null,
): void => {
  state.status = status;
  state.waitingFor = reason;
};

const fail = (state: RunState, event: Event, data: EventData<'run.failed'>): void => {
  finish(state, event, 'failed');
  state.error = data;
};

const change = (state: RunState, event: Event): void => {
  switch (event.type) {
    case 'run.submitted':
      throw new JournalError(`run ${state.runId} is submitted twice, at seq ${event.seq}`);
    case 'run.claimed':
      state.startedAt ??= event.ts;
      return toStatus(state, 'running');
    case 'run.parked':
      return toStatus(state, 'waiting', event.data.reason);
    case 'run.handed_over':
      return toStatus(state, 'queued');
    case 'run.abort_requested':
      state.abort ??= event.data;
      return;
    case 'run.succeeded':
      state.outputRef = state.turn?.outputRef ?? null;
      return finish(state, event, 'succeeded');
    case 'run.failed':
      return fail(state, event, event.data);
    case 'run.aborted':
      return finish(state, event, 'aborted');
    case 'llm.requested':
      return llmRequested(state, event);
    case 'llm.completed':
      return llmCompleted(state, event);
    case 'llm.failed':
      return llmFailed(state, event);
    case 'cost.expired':
      return costExpired(state, event);
    case 'tool.requested':
      return toolRequested(state, event);
    case 'tool.completed':
    case 'tool.failed':
      return toolEnded(state, event);
    case 'run.woken':
    case 'cost.denied':
    case 'approval.requested':
    case 'approval.decided':
    case 'guardrail.tripped':
    case 'handoff':
    case 'child.spawned':
    case 'child.finished':
      // They explain; what they lead to is an event of its own.
      return;
  }
};

/** Adds one event to the state, in place. Throws `JournalError` on a gap or an event after the end (R5, R7). */
export const apply = (state: RunState, event: Event): void => {
  if (event.seq !== state.seq + 1) {
    throw new JournalError(`run ${state.runId}: expected seq ${state.seq + 1}, found ${event.seq}`);
  }
  if (state.finishedAt !== null) {
    throw new JournalError(`run ${state.runId} ended at seq ${state.seq}; nothing may follow it`);
  }
  if (state.status === 'running' && event.type !== 'run.claimed') {
    state.activeMs += Math.max(0, Date.parse(event.ts) - Date.parse(state.lastTs));
  }
  change(state, event);
  state.seq = event.seq;
  state.hash = event.hash;
  state.epoch = event.epoch;
  state.lastTs = event.ts;
};

/** `state = fold(events)`: the whole run from its journal (design §2). */
export const fold = (events: readonly Event[]): RunState => {
  const [first, ...rest] = events;
  if (first === undefined) throw new JournalError('a journal has at least one event');
  const state = start(first);
  for (const event of rest) apply(state, event);
  return state;
};

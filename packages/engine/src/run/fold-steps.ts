import type { EventOf, Settlement, Usage } from '@signalbox/contracts';
import { JournalError } from '../journal/journal-error.ts';
import { expectCall, expectResult, llmStep, toolStep } from '../journal/journal-order.ts';
import { seeToolResults, warnOfLoops } from './loop.ts';
import {
  type Attempt,
  lastAttempt,
  type LlmAttempt,
  type LlmStep,
  type RunState,
  type Stopped,
  type ToolStep,
} from './state.ts';

/** What the events of model and tool calls do to the state; part of `fold`. */

const settle = (state: RunState, attempt: Attempt, settlement: Settlement | null): void => {
  if (settlement === null) return;
  if (attempt.settlement === null) state.heldNano -= attempt.hold?.amount_nano ?? 0;
  else state.observedNano -= attempt.settlement.observed_nano;
  attempt.settlement = settlement;
  state.observedNano += settlement.observed_nano;
  state.estimated ||= settlement.estimated;
};

/** For the receipt of an abort: what it closed or gave up, and at what price. */
const stop = (state: RunState, how: Partial<Stopped>, settlement: Settlement | null): void => {
  state.stopped = { ...state.stopped, ...how, nano: state.stopped.nano + (settlement?.observed_nano ?? 0) };
};

/** Codes that the worker gives to attempts that have no result of their own. */
export const CLOSED_BY_ABORT = 'aborted';
const WORKER_LOST = 'worker_lost';
/** Cut off because the worker had to go: no failure of the model. */
const WORKER_STOPPED = 'worker_stopped';

const addUsage = (a: Usage, b: Usage): Usage => ({
  input_tokens: a.input_tokens + b.input_tokens,
  output_tokens: a.output_tokens + b.output_tokens,
  cache_read_tokens: a.cache_read_tokens + b.cache_read_tokens,
  cache_write_tokens: a.cache_write_tokens + b.cache_write_tokens,
});

const newAttempt = ({ limits }: RunState, { data, ts }: EventOf<'llm.requested'>): LlmAttempt => ({
  attempt: data.attempt,
  model: data.model,
  startedAt: ts,
  hold: data.hold,
  takenFrom: data.taken_from ?? null,
  limitLowered: data.limit_lowered ?? data.max_output_tokens < limits.max_output_tokens,
  nudge: data.nudge,
  endedAt: null,
  settlement: null,
  code: null,
  usage: null,
});

const newStep = (step: number, attempt: LlmAttempt): LlmStep => ({
  kind: 'llm',
  step,
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
});

export const llmRequested = (state: RunState, event: EventOf<'llm.requested'>): void => {
  const { data } = event;
  expectCall(state, data);
  const attempt = newAttempt(state, event);
  state.heldNano += data.hold?.amount_nano ?? 0;
  state.requestDigest = data.request_digest;
  if (data.step <= state.steps.length) {
    const step = llmStep(state, data.step);
    step.attempts.push(attempt);
    step.status = 'open';
    return;
  }
  const step = newStep(data.step, attempt);
  // A loop is told of after tool results, which are no unusable answer.
  state.nudges = data.nudge === null || data.nudge === 'loop' ? 0 : state.nudges + 1;
  if (data.nudge === 'loop') warnOfLoops(state);
  state.steps.push(step);
  state.turn = step;
};

const endCall = (
  state: RunState,
  event: { ts: string; data: { step: number; attempt: number; settlement: Settlement | null; usage: Usage } },
): LlmStep => {
  const step = llmStep(state, event.data.step);
  expectResult(state, step, event.data);
  const attempt = lastAttempt(step);
  settle(state, attempt, event.data.settlement);
  attempt.endedAt = event.ts;
  attempt.usage = event.data.usage;
  state.usage = addUsage(state.usage, event.data.usage);
  return step;
};

export const llmCompleted = (state: RunState, event: EventOf<'llm.completed'>): void => {
  const step = endCall(state, event);
  step.status = 'completed';
  step.finishReason = event.data.finish_reason;
  step.calls = event.data.tool_calls;
  step.hasText = event.data.has_text;
  step.outputValid = event.data.output_valid;
  step.outputRef = event.refs['output'] ?? null;
  state.failures = 0;
};

export const llmFailed = (state: RunState, event: EventOf<'llm.failed'>): void => {
  const step = endCall(state, event);
  lastAttempt(step).code = event.data.code;
  step.status = event.data.decision === 'give_up' ? 'given_up' : 'again';
  step.retryAt = event.data.retry_at;
  step.failure = event.data.message;
  if (event.data.decision !== 'retry') state.failures = 0;
  else if (event.data.code !== WORKER_STOPPED) state.failures += 1;
  if (event.data.decision === 'fallback') state.modelIndex += 1;
  if (event.data.code === CLOSED_BY_ABORT) stop(state, { closed: true }, event.data.settlement);
  if (event.data.code === WORKER_LOST && state.abort !== null) stop(state, { givenUp: true }, null);
};

export const costExpired = (state: RunState, { data, ts }: EventOf<'cost.expired'>): void => {
  const step = llmStep(state, data.step);
  const attempt = step.attempts.find((a) => a.attempt === data.attempt);
  if (attempt === undefined) throw new JournalError(`step ${data.step} has no attempt ${data.attempt}`);
  const isFirst = attempt.settlement === null;
  settle(state, attempt, data.settlement);
  if (attempt.endedAt === null) {
    attempt.endedAt = ts;
    attempt.code = WORKER_LOST;
  }
  if (isFirst && state.abort !== null) stop(state, { givenUp: true }, data.settlement);
  // A late note about an older attempt says nothing about the one that is open now.
  if (step.status === 'open' && attempt === lastAttempt(step)) step.status = 'again';
};

export const toolRequested = (state: RunState, { data, ts }: EventOf<'tool.requested'>): void => {
  expectCall(state, data);
  const attempt = {
    attempt: data.attempt,
    startedAt: ts,
    hold: null,
    takenFrom: data.taken_from ?? null,
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
    argsDigest: state.turn?.calls.find((call) => call.call_id === data.call_id)?.args_digest ?? '',
    attempts: [attempt],
    status: 'open',
    resultDigest: null,
    resultRef: null,
  };
  state.steps.push(step);
  state.turn?.tools.push(step);
  state.openTools += 1;
};

export const toolEnded = (
  state: RunState,
  event: EventOf<'tool.completed'> | EventOf<'tool.failed'>,
): void => {
  const step = toolStep(state, event.data.step);
  expectResult(state, step, event.data);
  const attempt = lastAttempt(step);
  attempt.endedAt = event.ts;
  attempt.code = event.type === 'tool.failed' ? event.data.code : null;
  step.status = event.type === 'tool.failed' ? 'failed' : 'completed';
  step.resultDigest = event.data.result_digest;
  step.resultRef = event.refs['result'] ?? null;
  state.openTools -= 1;
  if (attempt.code === CLOSED_BY_ABORT) stop(state, { closed: true }, null);
  const { turn } = state;
  if (state.openTools === 0 && turn?.tools.length === turn?.calls.length && turn !== null)
    seeToolResults(state, turn);
};

import { type AgentSpec, type EventData, type EventDraft, toolEntryName } from '@signalbox/contracts';
import type { CallModel, CallTool } from './action.ts';
import type { RunState } from './state.ts';

/**
 * The events that announce an action of `next` (R3). What they say that the journal could not know (money, limits
 * that fit, due times) is handed in by the worker, and by a replay from what was recorded (R12).
 */

type Draft<T extends EventDraft['type']> = Extract<EventDraft, { type: T }>;

/** Of a call that warns the model of a loop. */
export const loopsTripped = ({ loops }: RunState): Draft<'guardrail.tripped'>[] =>
  loops.map(({ step }) => ({ type: 'guardrail.tripped', data: { name: 'loop', step } }));

type Requested = EventData<'llm.requested'>;

export const modelRequested = (
  { step, attempt, model, nudge }: CallModel,
  { temperature, tools }: Pick<AgentSpec, 'temperature' | 'tools'>,
  terms: Pick<Requested, 'max_output_tokens' | 'input_bound' | 'request_digest' | 'hold' | 'provider_key'>,
): Draft<'llm.requested'> => ({
  type: 'llm.requested',
  data: {
    step,
    attempt,
    model,
    max_output_tokens: terms.max_output_tokens,
    input_bound: terms.input_bound,
    temperature,
    tools: tools.map(toolEntryName),
    nudge,
    request_digest: terms.request_digest,
    hold: terms.hold,
    ...(terms.provider_key === undefined ? {} : { provider_key: terms.provider_key }),
  },
});

/** The same for every attempt of a call, so that a tool can tell a repeated one. */
export const idempotencyKey = (runId: string, { step, callId }: Pick<CallTool, 'step' | 'callId'>): string =>
  `${runId}:${step}:${callId}`;

export const toolRequested = (
  { runId }: Pick<RunState, 'runId'>,
  call: CallTool,
  terms: Pick<EventData<'tool.requested'>, 'repeatable' | 'due_at'>,
): Draft<'tool.requested'> => ({
  type: 'tool.requested',
  data: {
    step: call.step,
    attempt: call.attempt,
    call_id: call.callId,
    name: call.name,
    repeatable: terms.repeatable,
    idempotency_key: idempotencyKey(runId, call),
    due_at: terms.due_at,
  },
});

export const succeeded = ({ turn, steps }: RunState): Draft<'run.succeeded'> => ({
  type: 'run.succeeded',
  refs: turn === null || turn.outputRef === null ? {} : { output: turn.outputRef },
  data: { steps: steps.length },
});

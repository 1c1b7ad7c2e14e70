import { type ErrorCode, isErrorCode, type Nudge, type WaitReason } from '@signalbox/contracts';
import type { Action } from './action.ts';
import { isEnded, lastAttempt, type LlmStep, type RunState } from './state.ts';

/** Times the model is told that its answer was unusable before the run fails with `invalid_output`. */
export const MAX_NUDGES = 2;

const fail = (code: ErrorCode, message: string, failedStep?: number): Action =>
  failedStep === undefined ? { type: 'fail', code, message } : { type: 'fail', code, message, failedStep };

const modelOf = (state: RunState): string =>
  [state.submitted.model, ...state.submitted.fallbacks][state.modelIndex] ?? state.submitted.model;

/** Limits are looked at before anything new starts, never to throw away an answer that is there. */
const overLimit = (state: RunState, newSteps: number): Action | null => {
  const { max_steps, timeout_seconds } = state.limits;
  if (state.activeMs >= timeout_seconds * 1000) {
    return fail(
      'timeout',
      `The run was active for its ${timeout_seconds} s (queued and parked time not counted); raise limits.timeout_seconds or give it less to do.`,
    );
  }
  if (state.steps.length + newSteps > max_steps) {
    return fail(
      'max_steps',
      `The run used ${state.steps.length} of its ${max_steps} steps and needs ${newSteps} more; raise limits.max_steps or give it less to do.`,
    );
  }
  return null;
};

const callModel = (state: RunState, nudge: Nudge | null = null): Action =>
  overLimit(state, 1) ?? {
    type: 'call_model',
    step: state.steps.length + 1,
    attempt: 1,
    model: modelOf(state),
    nudge,
    notBefore: null,
  };

const callAgain = (state: RunState, step: LlmStep): Action =>
  overLimit(state, 0) ?? {
    type: 'call_model',
    step: step.step,
    attempt: lastAttempt(step).attempt + 1,
    model: modelOf(state),
    nudge: lastAttempt(step).nudge,
    notBefore: step.retryAt,
  };

type Unusable = Exclude<Nudge, 'loop'>;

/** Why an answer without tool calls cannot be the run's output; null when it can. */
const unusable = (step: LlmStep): Unusable | null => {
  if (!step.hasText) return 'empty';
  // A limit lowered to fit under a cap was our choice: a shorter answer is better than none (Money).
  if (step.finishReason === 'length' && !lastAttempt(step).limitLowered) return 'truncated';
  return step.outputValid ? null : 'schema';
};

const UNUSABLE: Record<Unusable, string> = {
  empty: 'answered with nothing',
  truncated: 'ran into limits.max_output_tokens',
  schema: 'did not follow output_schema',
};

/** Models that reason may spend all of the limit on that. */
const wordsOf = (nudge: Unusable, { finishReason }: LlmStep): string =>
  nudge === 'empty' && finishReason === 'length'
    ? `${UNUSABLE.truncated} before it wrote anything`
    : UNUSABLE[nudge];

const afterAnswer = (state: RunState, step: LlmStep): Action => {
  if (step.finishReason === 'refusal')
    return fail('invalid_output', `The model refused to answer at step ${step.step}.`, step.step);
  const nudge = unusable(step);
  if (nudge === null) return { type: 'succeed' };
  if (state.nudges < MAX_NUDGES) return callModel(state, nudge);
  const words = wordsOf(nudge, step);
  return fail('invalid_output', `The model ${words} ${MAX_NUDGES + 1} times in a row.`, step.step);
};

/** All calls of an answer; in a fork, those it did not take over. */
const callTools = (state: RunState, step: LlmStep): Action => {
  const calls = step.calls.slice(step.tools.length);
  return (
    overLimit(state, calls.length) ?? {
      type: 'call_tools',
      calls: calls.map((call, index) => ({
        step: state.steps.length + 1 + index,
        attempt: 1,
        callId: call.call_id,
        name: call.name,
        truncated: step.finishReason === 'length',
      })),
    }
  );
};

/** Announced tool calls without a result: due or pending waits, or what a lost worker left behind. */
const openTools = (state: RunState, step: LlmStep): Action => {
  const open = step.tools.filter((tool) => tool.status === 'open');
  const lost = open.filter((tool) => tool.dueAt === null);
  const unsafe = lost.find((tool) => !tool.repeatable);
  if (unsafe !== undefined) {
    return fail(
      'uncertain_effect',
      `The worker was lost while tool ${unsafe.name} ran at step ${unsafe.step}; the tool is not declared safe to repeat, so it is not run again. Check its effect, then fork the run.`,
      unsafe.step,
    );
  }
  if (lost.length > 0) {
    return {
      type: 'call_tools',
      calls: lost.map((tool) => ({
        step: tool.step,
        attempt: lastAttempt(tool).attempt + 1,
        callId: tool.callId,
        name: tool.name,
        truncated: step.finishReason === 'length',
      })),
    };
  }
  const due = open.filter((tool) => tool.dueAt !== null && tool.dueAt <= state.knownTime);
  if (due.length > 0) return { type: 'end_wait', steps: due };
  const until = open.map((tool) => tool.dueAt ?? '').reduce((a, b) => (a < b ? a : b));
  return { type: 'park', reason: 'timer', until };
};

/** The model goes on with the results; told once of a call it repeats, then stopped. */
const afterTools = (state: RunState): Action => {
  const repeated = state.loops.find((loop) => loop.warned);
  if (repeated === undefined) return callModel(state, state.loops.length > 0 ? 'loop' : null);
  return fail(
    'loop_detected',
    `The model called ${repeated.name} at step ${repeated.step} with the same arguments and the same result as before, although it was told to stop. Change the instructions or the tools of the agent.`,
    repeated.step,
  );
};

const giveUp = (step: LlmStep): Action => {
  const { code, model } = lastAttempt(step);
  const known = code !== null && isErrorCode(code) ? code : 'provider_error';
  return fail(known, `Step ${step.step} (${model}): ${step.failure ?? known}`, step.step);
};

const afterCall = (state: RunState, step: LlmStep): Action => {
  if (step.status === 'open') return { type: 'expire_call', step };
  if (step.status === 'again') return callAgain(state, step);
  if (step.status === 'given_up') return giveUp(step);
  if (step.calls.length === 0 || step.finishReason === 'refusal') return afterAnswer(state, step);
  if (step.tools.length < step.calls.length) return callTools(state, step);
  return state.openTools > 0 ? openTools(state, step) : afterTools(state);
};

/** A call left open by a lost worker is charged first: nothing can be settled after the end (R2, R7). */
const end = ({ turn }: RunState, how: Action): Action =>
  turn?.status === 'open' ? { type: 'expire_call', step: turn } : how;

const WAITED_FOR: Record<WaitReason, string> = {
  approval: 'an approval',
  children: 'its children',
  timer: 'its timer',
  input: 'input',
  capacity: 'room under a cap',
};

const waitedTooLong = ({ reason, since }: NonNullable<RunState['expiredWait']>): Action =>
  fail(
    'timeout',
    `The run waited for ${WAITED_FOR[reason]} since ${since}, longer than a run may wait. Once that can be had, submit the run again.`,
  );

/**
 * `action = next(state)`: what the owner of a run does now. Reads only the journal (R12): the same
 * events give the same action in a live, resumed, replayed or forked run.
 */
export const next = (state: RunState): Action => {
  if (isEnded(state)) return { type: 'none' };
  if (state.abort !== null) return end(state, { type: 'abort' });
  if (state.expiredWait !== null) return end(state, waitedTooLong(state.expiredWait));
  return state.turn === null ? callModel(state) : afterCall(state, state.turn);
};

import { JournalError } from './journal-error.ts';
import type { LlmStep, RunState, ToolStep } from '../run/state.ts';

/** What must hold of the steps of a journal, event by event: in order, each tried and ended as it may be. */

const stepAt = (state: RunState, step: number): LlmStep | ToolStep => {
  const found = state.steps[step - 1];
  if (found === undefined) throw new JournalError(`run ${state.runId} has no step ${step}`);
  return found;
};

export const llmStep = (state: RunState, step: number): LlmStep => {
  const found = stepAt(state, step);
  if (found.kind !== 'llm') throw new JournalError(`step ${step} of run ${state.runId} is no model call`);
  return found;
};

export const toolStep = (state: RunState, step: number): ToolStep => {
  const found = stepAt(state, step);
  if (found.kind !== 'tool') throw new JournalError(`step ${step} of run ${state.runId} is no tool call`);
  return found;
};

/** A journal numbers steps and attempts without gaps; anything else is no journal of this engine. */
const expect = (state: RunState, what: string, expected: number, found: number): void => {
  if (expected === found) return;
  throw new JournalError(`run ${state.runId}: expected ${what} ${expected}, found ${found}`);
};

const expectNoResult = (state: RunState, step: LlmStep | ToolStep): void => {
  if (step.status === 'open' || step.status === 'again') return;
  throw new JournalError(`run ${state.runId}: step ${step.step} has its result already (R6)`);
};

/** An announcement opens the next step, or tries one without a result once more. */
export const expectCall = (
  state: RunState,
  call: { readonly step: number; readonly attempt: number },
): void => {
  const known = state.steps[call.step - 1];
  if (known === undefined) expect(state, 'step', state.steps.length + 1, call.step);
  else expectNoResult(state, known);
  expect(state, `attempt at step ${call.step}`, (known?.attempts.length ?? 0) + 1, call.attempt);
};

/** A result belongs to the attempt announced last. */
export const expectResult = (
  state: RunState,
  step: LlmStep | ToolStep,
  result: { readonly attempt: number },
): void => {
  expectNoResult(state, step);
  expect(state, `a result of step ${step.step} for attempt`, step.attempts.length, result.attempt);
};

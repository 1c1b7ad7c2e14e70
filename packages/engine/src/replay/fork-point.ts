import { CLOSED_BY_ABORT } from '../run/fold-steps.ts';
import { lastAttempt, type RunState, type StepState } from '../run/state.ts';

/** Where a run may be forked. */
export interface ForkPoint {
  /** The first step that is made anew. */
  readonly fromStep: number;
  /** Of a tool step at or before it: what it is to have given. */
  readonly toolOutput: { readonly step: number; readonly text: string } | null;
}

export interface ForkProblem {
  readonly field: 'from_step' | 'tool_output';
  readonly message: string;
}

/** A result that was not cut off by the end of its run. */
const hasResult = (step: StepState): boolean =>
  step.status === 'completed' || (step.status === 'failed' && lastAttempt(step).code !== CLOSED_BY_ABORT);

const outputProblem = ({ steps }: RunState, step: number, fromStep: number): string | null => {
  if (steps[step - 1]?.kind !== 'tool') return `step ${step} is no tool call of this run`;
  if (step > fromStep) return `step ${step} stands behind from_step ${fromStep}, so it has no output yet`;
  const asked = steps.find((other) => other.kind === 'llm' && other.step > step && other.step < fromStep);
  if (asked === undefined) return null;
  return `step ${asked.step} was asked with the recorded output of step ${step}: fork from step ${asked.step} or before`;
};

/** Why a run cannot be forked there; null when it can. */
export const forkProblem = (state: RunState, { fromStep, toolOutput }: ForkPoint): ForkProblem | null => {
  const { steps } = state;
  const last = steps.length + 1;
  if (fromStep > last) {
    return { field: 'from_step', message: `expected 1 to ${last}: the run has ${steps.length} steps` };
  }
  const bad = toolOutput === null ? null : outputProblem(state, toolOutput.step, fromStep);
  if (bad !== null) return { field: 'tool_output', message: bad };
  const open = steps.find(
    (step) => step.step < fromStep && step.step !== toolOutput?.step && !hasResult(step),
  );
  if (open === undefined) return null;
  return {
    field: 'from_step',
    message: `step ${open.step} has no result to take over: fork from it or from a step before`,
  };
};

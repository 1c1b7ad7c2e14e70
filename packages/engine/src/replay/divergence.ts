import type { Comparison, Divergence, DivergenceKind, EventData, Json } from '@signalbox/contracts';
import type { Action } from '../run/action.ts';

/** Of these there is nothing sure to go on from. */
const UNSOUND: ReadonlySet<DivergenceKind> = new Set(['journal', 'spec', 'content']);

/** The step from which a fork tries what today is otherwise; null: the recording itself is not what was written. */
export const forkStepOf = ({ kind, step }: Divergence): number | null => {
  if (UNSOUND.has(kind)) return null;
  return Math.max(1, kind === 'end' ? step + 1 : step);
};

const SAID: ReadonlySet<DivergenceKind> = new Set(['spec', 'request']);

export const counts = (comparison: Comparison, kind: DivergenceKind): boolean =>
  comparison === 'requests' || !SAID.has(kind);

export const sameJson = (a: Json, b: Json): boolean => a === b || JSON.stringify(a) === JSON.stringify(b);

/** An action in words that recorded announcements can be put in too. */
export const actionSummary = (action: Action): Json => {
  switch (action.type) {
    case 'call_model':
      return modelSummary(action);
    case 'call_tools':
      return toolsSummary(action.calls.map((call) => ({ ...call, call_id: call.callId })));
    case 'end_wait':
      return { type: 'end_wait', steps: action.steps.map(({ step }) => step) };
    case 'expire_call':
      return { type: 'expire_call', step: action.step.step };
    case 'park':
      return parkSummary(action);
    case 'fail':
      return failSummary(action.code, action.failedStep);
    default:
      return { type: action.type };
  }
};

export const modelSummary = ({
  step,
  attempt,
  model,
}: Pick<EventData<'llm.requested'>, 'step' | 'attempt' | 'model'>): Json => ({
  type: 'call_model',
  step,
  attempt,
  model,
});

export const toolsSummary = (
  calls: readonly Pick<EventData<'tool.requested'>, 'step' | 'attempt' | 'call_id' | 'name'>[],
): Json => ({
  type: 'call_tools',
  calls: calls.map(({ step, attempt, call_id, name }) => ({ step, attempt, call_id, name })),
});

export const parkSummary = ({ reason, until }: Pick<EventData<'run.parked'>, 'reason' | 'until'>): Json => ({
  type: 'park',
  reason,
  until,
});

/** Without its message: words for people may change, what happens may not. */
export const failSummary = (code: string, step: number | undefined): Json => ({
  type: 'fail',
  code,
  step: step ?? null,
});

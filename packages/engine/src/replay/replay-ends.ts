import type { Divergence, DivergenceKind, EventOf, Json } from '@signalbox/contracts';
import { abortReceipt } from '../run/abort-receipt.ts';
import { type Action, startsWork } from '../run/action.ts';
import { succeeded } from '../run/announcement.ts';
import { actionSummary, failSummary, parkSummary, sameJson } from './divergence.ts';
import { next } from '../run/next.ts';
import { lastStep, type ReplayPoint } from './replay-point.ts';
import type { RunState } from '../run/state.ts';

/** What the recorded ends and parks of a run are compared with. */

function* unless(
  state: RunState,
  fits: (action: Action) => boolean,
  { kind, expected }: { kind: DivergenceKind; expected: Json },
): Iterable<Divergence> {
  const action = next(state);
  if (!fits(action)) yield { step: lastStep(state), kind, expected, got: actionSummary(action) };
}

/** A timer is the engine's; for room a run parks before a call it would make. Other waits are not its choice. */
export function* parked({ state }: ReplayPoint, { data }: EventOf<'run.parked'>): Iterable<Divergence> {
  const { reason, until } = data;
  const isDue = (action: Action): boolean =>
    (action.type === 'park' && action.reason === reason && action.until === until) ||
    (action.type === 'call_model' && action.notBefore === until);
  const how = { kind: 'action', expected: parkSummary(data) } as const;
  if (reason === 'timer') yield* unless(state, isDue, how);
  if (reason === 'capacity') yield* unless(state, startsWork, how);
}

export function* success(
  { state }: ReplayPoint,
  { data, refs }: EventOf<'run.succeeded'>,
): Iterable<Divergence> {
  const action = next(state);
  const expected: Json = { type: 'succeed', steps: data.steps, output: refs['output'] ?? null };
  const today = succeeded(state);
  const got: Json =
    action.type === 'succeed'
      ? { type: 'succeed', steps: today.data.steps, output: today.refs?.['output'] ?? null }
      : actionSummary(action);
  if (!sameJson(expected, got)) yield { step: lastStep(state), kind: 'end', expected, got };
}

/** Written by whoever could not go on with the run: the journal does not know why. */
const FROM_OUTSIDE: ReadonlySet<string> = new Set(['poison_step']);

export function* failure(
  { events, index, state }: ReplayPoint,
  { data }: EventOf<'run.failed'>,
): Iterable<Divergence> {
  if (FROM_OUTSIDE.has(data.code)) return;
  const how = { kind: 'end', expected: failSummary(data.code, data.step) } as const;
  const before = events[index - 1];
  const refused = before?.type === 'cost.denied' && before.data.code === data.code;
  // Before a call the worker knows how long the conversation is, and which tools there are; behind it the provider says
  // so, and the journal.
  const beforeCall = refused || data.code === 'context_too_long' || data.code === 'tool_error';
  const fits = (action: Action): boolean =>
    (beforeCall && action.type === 'call_model') ||
    (!refused && sameJson(actionSummary(action), how.expected));
  yield* unless(state, fits, how);
}

/** Who cannot even open a run ends it without a claim of its epoch, with a receipt that says no more than that. */
const isUnread = ({ events }: ReplayPoint, { epoch, data }: EventOf<'run.aborted'>): boolean =>
  data.caught === 'between_steps' &&
  !data.call_closed &&
  !events.some((event) => event.type === 'run.claimed' && event.epoch === epoch);

export function* aborted(at: ReplayPoint, event: EventOf<'run.aborted'>): Iterable<Divergence> {
  const { state } = at;
  const { data } = event;
  if (state.abort === null || isUnread(at, event)) return;
  const action = next(state);
  const expected = { type: 'abort', ...data };
  const got = action.type === 'abort' ? { type: 'abort', ...abortReceipt(state) } : actionSummary(action);
  if (!sameJson(expected, got)) yield { step: lastStep(state), kind: 'end', expected, got };
}

import type { Comparison, Divergence, Entry, Event, ReplayChanges } from '@signalbox/contracts';
import { readChain } from '../journal/chain.ts';
import { counts } from './divergence.ts';
import { apply, fold } from '../run/fold.ts';
import { JournalError } from '../journal/journal-error.ts';
import type { Recording } from './recording.ts';
import { withChanges } from './replay-changes.ts';
import { CHECKS, type Check } from './replay-checks.ts';
import { specText } from '../run/request.ts';
import type { RunState } from '../run/state.ts';

/**
 * Replay (R12): a recorded journal goes through today's engine, event by event. What came from outside
 * (answers, tool results, money, time) is taken as recorded; wherever the engine decided, its decision and the request
 * it would make are compared with what was announced. Calls nothing and pays nothing: it reads what it is given.
 */

export interface Replayed {
  readonly identical: boolean;
  readonly steps: number;
  /** In the order of the journal, the first ones. Nothing is compared behind a decision that was another. */
  readonly divergences: readonly Divergence[];
}

const MAX_DIVERGENCES = 100;

const PARTING: ReadonlySet<Divergence['kind']> = new Set(['journal', 'tool', 'action', 'end']);

/** The step an event announces; 0 when it announces none. */
const stepOf = ({ type, data }: Event): number =>
  type === 'llm.requested' || type === 'tool.requested' ? data.step : 0;

const outcome = (steps: number, divergences: readonly Divergence[]): Replayed => ({
  identical: divergences.length === 0,
  steps,
  divergences,
});

const lastStep = (events: readonly Event[]): number =>
  events.reduce((last, event) => Math.max(last, stepOf(event)), 0);

interface Journal {
  readonly events: readonly Event[];
  /** What a replay says of a journal that is no unbroken chain: nobody knows what was recorded. */
  readonly broken: Replayed | null;
}

export const readJournal = (entries: readonly Entry[]): Journal => {
  const { events, broken } = readChain(entries);
  if (broken === null) return { events, broken };
  const step = lastStep(events);
  const divergence = { step, kind: 'journal', expected: 'an unbroken chain', got: { ...broken } } as const;
  return { events, broken: outcome(step, [divergence]) };
};

/** What a run was submitted with is what its spec says. */
function* submission({ submitted }: RunState, recording: Recording): Iterable<Divergence> {
  const { spec, storedSpec, digest } = recording;
  const today = digest(specText(storedSpec));
  if (today !== submitted.spec_digest) {
    yield { step: 1, kind: 'spec', expected: submitted.spec_digest, got: today };
    return;
  }
  const expected = [submitted.model, ...submitted.fallbacks];
  const got = [spec.model, ...spec.fallbacks];
  if (expected.join() !== got.join()) yield { step: 1, kind: 'spec', expected, got };
}

export interface ReplayOptions {
  /** Default: none. */
  readonly changes?: ReplayChanges | undefined;
  /** Default: `requests`. */
  readonly compare?: Comparison;
  /** Divergences after which it ends. */
  readonly most?: number;
}

function* compare(
  events: readonly Event[],
  recording: Recording,
  changes: ReplayChanges | undefined,
): Iterable<Divergence> {
  const [first] = events;
  const recorded = fold(events.slice(0, 1));
  yield* submission(recorded, recording);
  const changed =
    first === undefined || changes === undefined ? null : withChanges(first, recording, changes);
  const state = changed === null ? recorded : fold([changed.first]);
  const today = changed?.recording ?? recording;
  for (const [index, event] of events.entries()) {
    if (index === 0) continue;
    // The table pairs each type with its event; TypeScript cannot follow the pair through a lookup.
    const check = CHECKS[event.type] as Check | undefined;
    if (check !== undefined) yield* check({ events, index, state, recording: today }, event);
    apply(state, changed === null ? event : changed.takeIn(event));
  }
}

/** Of a journal that is known to be unbroken. */
export const replayEvents = (
  events: readonly Event[],
  recording: Recording,
  { changes, compare: comparison = 'requests', most = MAX_DIVERGENCES }: ReplayOptions = {},
): Replayed => {
  const divergences: Divergence[] = [];
  const steps = lastStep(events);
  try {
    for (const divergence of compare(events, recording, changes)) {
      if (!counts(comparison, divergence.kind)) continue;
      divergences.push(divergence);
      if (PARTING.has(divergence.kind) || divergences.length === most) break;
    }
  } catch (error) {
    if (!(error instanceof JournalError)) throw error;
    divergences.push({ step: steps, kind: 'journal', expected: 'a journal', got: error.message });
  }
  return outcome(steps, divergences);
};

export const replay = (
  entries: readonly Entry[],
  recording: Recording,
  options: ReplayOptions = {},
): Replayed => {
  const { events, broken } = readJournal(entries);
  return broken ?? replayEvents(events, recording, options);
};

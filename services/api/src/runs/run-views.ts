import type { Entry, Run } from '@signalbox/contracts';
import { apply, hashOf, JournalError, readEntry, type RunState } from '@signalbox/engine';
import { type KnownRun, type Partition, readRunFrom } from '@signalbox/run-state';
import { LRUCache } from 'lru-cache';
import { foldRun } from './fold-run.ts';
import type { ReadableRun, RunReader } from './run-reader.ts';
import { type ViewDeps, viewOf } from './run-view.ts';

/**
 * Runs as `GET /v1/runs/{id}` answers them. Owns what it has folded of the long ones: who polls such a run costs what
 * was added since the last look, not the whole journal each time. What is kept is never older than it can prove: an
 * entry with the known hash at the known seq has the same entries before it (R5). Where it is not there, because
 * Redis lost writes or the run has left, the run is read and folded from its beginning.
 */

export interface ShownRun {
  readonly view: Run;
  /** Of its last event. */
  readonly seq: number;
}

export interface RunViews {
  /** Throws like `RunReader.find`, and `journal_broken`, `encryption_key_missing`. */
  show(tenantId: string, runId: string): Promise<ShownRun>;
}

export type RunViewsDeps = ViewDeps & { readonly partition: Partition; readonly runs: RunReader };

/** Below that a run is folded sooner than it is looked up. */
const LONG = 20;
/** Steps of all runs that are kept: each takes less than a kilobyte. */
const MOST_STEPS = 50_000;

const knownOf = ({ seq, submissionRef, turn }: RunState): KnownRun => ({
  seq,
  submission: submissionRef,
  answer: turn?.outputRef ?? null,
});

/**
 * Adds what is new to the state. The entries begin with the one at `from`; false: they do not go on from the state,
 * which is of no use then.
 */
const goOn = (state: RunState, from: number, entries: readonly Entry[]): boolean => {
  const [last, ...added] = entries.slice(Math.max(0, state.seq - from));
  if (last === undefined || hashOf(last) !== state.hash) return false;
  try {
    for (const event of added.map(readEntry)) apply(state, event);
    return true;
  } catch (error) {
    if (error instanceof JournalError) return false;
    throw error;
  }
};

export const createRunViews = ({ partition, runs, ...deps }: RunViewsDeps): RunViews => {
  const folded = new LRUCache<string, RunState>({
    maxSize: MOST_STEPS,
    sizeCalculation: ({ steps }) => steps.length,
  });

  /** States change in place, so what is shown is made in the turn in which its entries came. */
  const shownOf = (name: string, run: ReadableRun, state: RunState): ShownRun => {
    if (state.steps.length >= LONG) folded.set(name, state);
    return { view: viewOf(deps, run, state), seq: state.seq };
  };

  const showFurther = async (name: string, ids: Pick<ReadableRun, 'tenantId' | 'runId'>) => {
    const before = folded.get(name);
    if (before === undefined) return null;
    const known = knownOf(before);
    const run = await readRunFrom(partition, ids, known);
    const state = folded.get(name);
    if (run === null || state === undefined) return null;
    // Kept again once it is seen to fit.
    folded.delete(name);
    return goOn(state, known.seq, run.entries) ? shownOf(name, run, state) : null;
  };

  return {
    show: async (tenantId, runId) => {
      const name = `${tenantId} ${runId}`;
      const further = await showFurther(name, { tenantId, runId });
      if (further !== null) return further;
      const run = await runs.find(tenantId, runId);
      return shownOf(name, run, foldRun(run));
    },
  };
};

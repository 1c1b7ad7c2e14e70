import { type Run, SignalboxError, type Step, type StoredRun } from '@signalbox/contracts';
import { type RunState, runView, stepsView, type ViewContents } from '@signalbox/engine';
import type { Keyring, Logger } from '@signalbox/runtime';
import { foldRun } from './fold-run.ts';
import { openRun } from './run-contents.ts';
import type { ReadableRun } from './run-reader.ts';

export interface ViewDeps {
  readonly keyring: Keyring;
  readonly logger: Logger;
}

const GONE: ViewContents = { submission: null, output: null };

const isKeyMissing = (error: unknown): boolean =>
  error instanceof SignalboxError && error.code === 'encryption_key_missing';

/**
 * A run whose contents are damaged is still shown: its state and its money matter more. One whose key another process
 * has is not: that one shows all of it.
 */
const opening = <T>({ logger }: ViewDeps, run: StoredRun, work: () => T, otherwise: T): T => {
  try {
    return work();
  } catch (error) {
    if (isKeyMissing(error)) throw error;
    logger.error('contents cannot be opened', { run_id: run.runId, error });
    return otherwise;
  }
};

const contentsOf = (deps: ViewDeps, run: StoredRun, state: RunState): ViewContents => {
  const opened = openRun(deps.keyring, run);
  if (opened === null) return GONE;
  return {
    submission: opened.submission(state.submissionRef),
    output: state.outputRef === null ? null : opened.steps.answer(state.outputRef).text,
  };
};

type Viewed = StoredRun & Partial<Pick<ReadableRun, 'abort'>>;

const damaged: ViewContents = { ...GONE, error: 'content_damaged' };

/** The run as `GET /v1/runs/{id}` answers it. Throws `journal_broken`, `encryption_key_missing`. */
export const viewOf = (deps: ViewDeps, run: Viewed, state: RunState = foldRun(run)): Run => {
  const contents = opening(deps, run, () => contentsOf(deps, run, state), damaged);
  return runView(state, { ...contents, abort: run.abort ?? null, erasedAt: run.contentErasedAt });
};

/** The run as a list has it: one whose key is lost for good must not hide the others. Throws `journal_broken`. */
export const listedView = (deps: ViewDeps, run: StoredRun): Run => {
  try {
    return viewOf(deps, run);
  } catch (error) {
    if (!isKeyMissing(error)) throw error;
    return runView(foldRun(run), { ...GONE, error: 'encryption_key_missing' });
  }
};

/** The steps of a run; `withContents` false leaves out everything that was said. Throws `journal_broken`, `encryption_key_missing`. */
export const stepsOf = (deps: ViewDeps, run: StoredRun, withContents: boolean): Step[] => {
  const state = foldRun(run);
  if (!withContents) return stepsView(state, null);
  const opened = (): Step[] | null => {
    const contents = openRun(deps.keyring, run);
    if (contents === null) return null;
    return stepsView(state, {
      submission: contents.submission(state.submissionRef),
      contents: contents.steps,
    });
  };
  return opening(deps, run, opened, null) ?? stepsView(state, null);
};

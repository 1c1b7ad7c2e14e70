import {
  AnswerContent,
  SignalboxError,
  type StoredRun,
  SubmissionContent,
  ToolResultContent,
} from '@signalbox/contracts';
import type { Contents } from '@signalbox/engine';
import { openContent } from '@signalbox/run-state';
import type { Keyring } from '@signalbox/runtime';

/** Opens the sealed contents of one run with its own key. */
export interface OpenedRun {
  /** Throws SealError, or `internal` when the content is not there. */
  content(ref: string): unknown;
  submission(ref: string): SubmissionContent;
  readonly steps: Contents;
}

/** Null: the run's key was erased, and with it everything that was said. Throws SealError. */
export const openRun = (keyring: Keyring, run: StoredRun): OpenedRun | null => {
  if (run.wrappedKey === null) return null;
  const dataKey = keyring.unwrap(run.wrappedKey, run.runId);
  const content = (ref: string): unknown => {
    const sealed = run.contents.get(ref);
    if (sealed === undefined) throw new SignalboxError('internal', `run ${run.runId} has no content ${ref}`);
    return openContent(dataKey, run.runId, sealed);
  };
  return {
    content,
    submission: (ref) => SubmissionContent.parse(content(ref)),
    steps: {
      answer: (ref) => AnswerContent.parse(content(ref)),
      result: (ref) => ToolResultContent.parse(content(ref)),
    },
  };
};

import {
  AnswerContent,
  SignalboxError,
  type StoredRun,
  SubmissionContent,
  ToolResultContent,
} from '@signalbox/contracts';
import type { Contents, Digest } from '@signalbox/engine';
import { type FoundContent, foundContent, openContent } from '@signalbox/run-state';
import { digest, type Keyring, sealingKey } from '@signalbox/runtime';
import { opened } from '../http/missing-key.ts';

/** Opens the sealed contents of one run with its own key. */
export interface OpenedRun {
  /** Throws SealError, or `internal` when the content is not there. */
  content(ref: string): unknown;
  submission(ref: string): SubmissionContent;
  readonly steps: Contents;
  /** Under the run's key. */
  readonly digest: Digest;
}

/** Each content is decoded, opened and parsed once, however often it is asked for. */
const once = <T>(read: (ref: string) => T): ((ref: string) => T) => {
  const known = new Map<string, { readonly value: T }>();
  return (ref) => {
    const found = known.get(ref) ?? { value: read(ref) };
    known.set(ref, found);
    return found.value;
  };
};

/** A run's contents as they were sealed, by their refs; null where one is not there. */
export type SealedContents = (ref: string) => FoundContent | null;

export const sealedContents = ({ contents }: StoredRun): SealedContents =>
  once((ref) => {
    const sealed = contents.get(ref);
    return sealed === undefined ? null : foundContent(sealed);
  });

/** Null: the run's key was erased, and with it everything that was said. Throws `encryption_key_missing`, SealError. */
export const openRunKey = (
  keyring: Keyring,
  { runId, wrappedKey }: Pick<StoredRun, 'runId' | 'wrappedKey'>,
): Buffer | null =>
  wrappedKey === null
    ? null
    : opened(`What was said in run ${runId}`, () => keyring.unwrap(wrappedKey, runId));

/** Null: all that was said was erased. Throws like `openRunKey`. */
export const openRun = (keyring: Keyring, run: StoredRun, sealed = sealedContents(run)): OpenedRun | null => {
  const runKey = openRunKey(keyring, run);
  if (runKey === null) return null;
  const dataKey = sealingKey(runKey);
  const content = once((ref): unknown => {
    const found = sealed(ref);
    if (found === null) throw new SignalboxError('internal', `run ${run.runId} has no content ${ref}`);
    return openContent(dataKey, run.runId, [ref, found]);
  });
  return {
    content,
    submission: (ref) => SubmissionContent.parse(content(ref)),
    steps: {
      answer: once((ref) => AnswerContent.parse(content(ref))),
      result: once((ref) => ToolResultContent.parse(content(ref))),
    },
    digest: (text) => digest(dataKey, text),
  };
};

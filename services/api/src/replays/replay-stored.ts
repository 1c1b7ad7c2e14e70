import {
  type Event,
  type Json,
  SignalboxError,
  SpecContent,
  type StoredRun,
  SubmissionContent,
} from '@signalbox/contracts';
import { readJournal, type Replayed, replayEvents, type ReplayOptions } from '@signalbox/engine';
import type { Keyring } from '@signalbox/runtime';
import { openRun, type SealedContents, sealedContents } from '../runs/run-contents.ts';

/**
 * A stored run through today's engine (R12). Before that it is made sure that the recording is the one that was
 * written: its journal an unbroken chain, its contents those the journal names.
 */
const gone = ({ runId, contentErasedAt }: StoredRun): SignalboxError => {
  const how = contentErasedAt === null ? 'is not there, though no erasure of it is known' : 'was erased';
  return new SignalboxError(
    'content_erased',
    `What was said in run ${runId} ${how}, so it cannot be replayed or forked. Its journal is still there.`,
  );
};

/**
 * A ref is the hash of the sealed bytes: others in their place, also well sealed ones, are found out. So is a content
 * that is missing beside the run's key, which an erasure takes first.
 */
const damaged = (run: StoredRun, sealed: SealedContents, events: readonly Event[]): Replayed | null => {
  if (run.wrappedKey === null || run.contentErasedAt !== null) return null;
  let steps = 0;
  for (const { refs, data } of events) {
    if ('step' in data && typeof data.step === 'number') steps = Math.max(steps, data.step);
    for (const expected of Object.values(refs)) {
      const got = sealed(expected)?.ref ?? null;
      if (got === expected) continue;
      return { identical: false, steps, divergences: [{ step: steps, kind: 'content', expected, got }] };
    }
  }
  return null;
};

/** Everything of a run, opened. Throws `content_erased`, `encryption_key_missing`, SealError. */
export const openRecording = (
  keyring: Keyring,
  run: StoredRun,
  events: readonly Event[],
  sealed = sealedContents(run),
) => {
  const opened = openRun(keyring, run, sealed);
  if (opened === null) throw gone(run);
  const missing = events.some(({ refs }) => Object.values(refs).some((ref) => !run.contents.has(ref)));
  if (missing) throw gone(run);
  const refs = events[0]?.refs ?? {};
  const storedSpec = opened.content(refs['spec'] ?? '') as Json;
  const submission = SubmissionContent.parse(opened.content(refs['submission'] ?? ''));
  return {
    submission,
    input: submission.input,
    contents: opened.steps,
    spec: SpecContent.parse(storedSpec),
    storedSpec,
    digest: opened.digest,
  };
};

/** Throws `content_erased`, `encryption_key_missing`, SealError. */
export const replayStored = (keyring: Keyring, run: StoredRun, options: ReplayOptions = {}): Replayed => {
  const { events, broken } = readJournal(run.entries);
  if (broken !== null) return broken;
  const sealed = sealedContents(run);
  const recording = () => openRecording(keyring, run, events, sealed);
  return damaged(run, sealed, events) ?? replayEvents(events, recording(), options);
};

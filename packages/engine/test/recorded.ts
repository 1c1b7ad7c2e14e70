import assert from 'node:assert/strict';
import type { Entry, Event, EventDraft } from '@signalbox/contracts';
import fc from 'fast-check';
import type { Journey } from './journey.ts';
import { journeyOf, recordingOf } from './simulation.ts';
import { worlds } from './world.ts';
import { appendDrafts, EMPTY_HEAD } from '../src/journal/chain.ts';
import type { Recording } from '../src/replay/recording.ts';
import { replay as replayEntries, type Replayed } from '../src/replay/replay.ts';

/** A recording with its journal. */
export type Recorded = Recording & { readonly entries: readonly Entry[] };

export const recorded = (journey: Journey): Recorded => ({
  ...recordingOf(journey),
  entries: journey.entries,
});

export const replay = ({ entries, ...recording }: Recorded): Replayed => replayEntries(entries, recording);

export const SEEDS = { numRuns: 300 };

export const forAll = (check: (journey: Journey) => void): void =>
  fc.assert(
    fc.property(worlds, (world) => check(journeyOf(world))),
    SEEDS,
  );

/** A journal that says something else and is a chain all the same: whoever wrote it had the pen. */
export const rewritten = (journey: Journey, change: (event: Event) => Event['data']): Recorded => {
  let head = EMPTY_HEAD;
  const entries = journey.events.flatMap((event) => {
    const { run_id: runId, epoch, ts, actor, type, refs } = event;
    const draft = { type, refs, data: change(event) } as EventDraft;
    const appended = appendDrafts(head, [draft], { runId, epoch, ts, actor });
    head = appended.head;
    return appended.entries;
  });
  return { ...recorded(journey), entries };
};

export const firstOf = ({ divergences, identical }: Replayed): { step: number; kind: string } | null => {
  assert.equal(identical, divergences.length === 0);
  const [first] = divergences;
  return first === undefined ? null : { step: first.step, kind: first.kind };
};

/** The own model call behind a step: there what was said before it is looked at again. */
export const modelCalls = ({ events }: Journey) =>
  events.flatMap((event) => (event.type === 'llm.requested' && event.data.attempt === 1 ? [event.data] : []));

export const mostOf = <T>(items: readonly T[], at: number): T | undefined =>
  items[at % Math.max(1, items.length)];

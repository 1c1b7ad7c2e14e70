import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentSpec, type ErrorCode, type EventDraft } from '@signalbox/contracts';
import fc from 'fast-check';
import { aborted, abortRequested, claimed, isoAt, RUN_ID, submitted } from '../../test/drafts.ts';
import { digest } from '../../test/journey.ts';
import { journeyOf } from '../../test/simulation.ts';
import { worlds } from '../../test/world.ts';
import { appendDrafts, EMPTY_HEAD } from '../journal/chain.ts';
import { replay as replayEntries, type Replayed } from './replay.ts';
import { specText } from '../run/request.ts';
import { recorded, replay, SEEDS, forAll, rewritten, firstOf, mostOf } from '../../test/recorded.ts';

test('whatever a run went through, its replay is identical, and so is that of a run still under way (R12)', () => {
  fc.assert(
    fc.property(worlds, fc.nat(), (world, cut) => {
      const journey = journeyOf(world);
      const recording = recorded(journey);
      assert.deepEqual(replay(recording), {
        identical: true,
        steps: journey.state.steps.length,
        divergences: [],
      });
      // Between commits: what one of them wrote is there or not.
      const seq = mostOf(journey.actions, cut)?.seq ?? 1;
      const entries = recording.entries.slice(0, seq);
      assert.deepEqual(replay({ ...recording, entries }).divergences, []);
    }),
    SEEDS,
  );
});

test('a replay changes nothing of what it reads', () => {
  forAll((journey) => {
    const recording = recorded(journey);
    const before = structuredClone(recording.entries);
    replay(recording);
    assert.deepEqual(recording.entries, before);
  });
});

const SPEC = AgentSpec.parse({ model: 'mock/a' });
const OWNER = { runId: RUN_ID, ts: isoAt(0), actor: { type: 'system', id: 'worker-1' } } as const;
const NOTHING_SAID = {
  answer: () => assert.fail('no answer is read'),
  result: () => assert.fail('no result is read'),
};

test('the end of a run that nobody could open is no divergence: its writer could not know better', () => {
  const opened = [submitted({ spec_digest: digest(specText(SPEC)) }), claimed(), abortRequested()];
  const { entries, head } = appendDrafts(EMPTY_HEAD, opened, { ...OWNER, epoch: 1 });
  const unread = aborted({ caught: 'between_steps' });
  const recording = { spec: SPEC, storedSpec: SPEC, input: '', contents: NOTHING_SAID, digest };
  const endedAt = (epoch: number): Replayed =>
    replayEntries([...entries, ...appendDrafts(head, [unread], { ...OWNER, epoch }).entries], recording);
  assert.equal(endedAt(2).identical, true);
  // Whoever had claimed it had read it: this run had not begun.
  assert.equal(firstOf(endedAt(1))?.kind, 'end');
});

test('what only the worker knew before a call is no divergence; the end of another run would be', () => {
  const opened = [submitted({ spec_digest: digest(specText(SPEC)) }), claimed()];
  const recording = { spec: SPEC, storedSpec: SPEC, input: '', contents: NOTHING_SAID, digest };
  const endOf = (code: ErrorCode, ...more: EventDraft[]): Replayed => {
    const data = { code, message: 'why', step: 1 };
    const drafts: EventDraft[] = [...opened, ...more, { type: 'run.failed', data }];
    return replayEntries(appendDrafts(EMPTY_HEAD, drafts, { ...OWNER, epoch: 1 }).entries, recording);
  };
  for (const code of ['context_too_long', 'tool_error'] as const) {
    assert.equal(endOf(code).identical, true);
    assert.equal(firstOf(endOf(code, abortRequested()))?.kind, 'end');
  }
});

test('an end that today would be another is told of', () => {
  forAll((journey) => {
    const last = journey.events.at(-1);
    const code = last?.type === 'run.failed' ? last.data.code : null;
    const recording = rewritten(journey, ({ type, data }) => {
      if (type === 'run.failed') return { ...data, code: 'loop_detected_otherwise' };
      if (type === 'run.succeeded') return { ...data, steps: data.steps + 1 };
      return type === 'run.aborted' ? { ...data, settled_nano: data.settled_nano + 1 } : data;
    });
    const { step, kind } = firstOf(replay(recording)) ?? {};
    assert.deepEqual({ step, kind, code }, { step: journey.state.steps.length, kind: 'end', code });
  });
});

test('a body changed without its hash is no recording: the replay names the place and compares nothing', () => {
  fc.assert(
    fc.property(worlds, fc.nat(), (world, at) => {
      const recording = recorded(journeyOf(world));
      const place = at % recording.entries.length;
      const entries = recording.entries.map((entry, i) =>
        i === place ? entry.replace('"ts":"2', '"ts":"3') : entry,
      );
      const { divergences } = replay({ ...recording, entries });
      assert.equal(divergences.length, 1);
      assert.equal(divergences[0]?.kind, 'journal');
      assert.deepEqual(divergences[0]?.got, { seq: place + 1, why: 'the hash does not match the body' });
    }),
    SEEDS,
  );
});

test('an answer left out, with the chain made anew, does not pass', () => {
  fc.assert(
    fc.property(worlds, fc.nat(), (world, at) => {
      const journey = journeyOf({ ...world, aborts: 0 });
      const gone = mostOf(
        journey.events.filter(({ type }) => type === 'llm.completed'),
        at,
      );
      if (gone === undefined) return;
      const events = journey.events.filter((event) => event !== gone);
      const recording = rewritten({ ...journey, events }, ({ data }) => data);
      assert.notEqual(firstOf(replay(recording)), null);
    }),
    SEEDS,
  );
});

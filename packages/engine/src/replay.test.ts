import assert from 'node:assert/strict';
import { test } from 'node:test';
import { AgentSpec, COMPARISONS, type Entry, type Event, type EventDraft } from '@signalbox/contracts';
import fc from 'fast-check';
import { aborted, abortRequested, claimed, isoAt, RUN_ID, submitted } from '../test/drafts.ts';
import { digest, type Journey, journeyOf, recordingOf } from '../test/journey.ts';
import { worlds } from '../test/world.ts';
import { appendDrafts, EMPTY_HEAD } from './chain.ts';
import type { Recording } from './recording.ts';
import { replay as replayEntries, type Replayed, type ReplayOptions } from './replay.ts';
import { specText } from './request.ts';

/** A recording with its journal. */
type Recorded = Recording & { readonly entries: readonly Entry[] };

const recorded = (journey: Journey): Recorded => ({ ...recordingOf(journey), entries: journey.entries });

const replay = ({ entries, ...recording }: Recorded): Replayed => replayEntries(entries, recording);

const SPEC = AgentSpec.parse({ model: 'mock/a' });
const OWNER = { runId: RUN_ID, ts: isoAt(0), actor: { type: 'system', id: 'worker-1' } } as const;
const NOTHING_SAID = {
  answer: () => assert.fail('no answer is read'),
  result: () => assert.fail('no result is read'),
};

const SEEDS = { numRuns: 300 };

const forAll = (check: (journey: Journey) => void): void =>
  fc.assert(
    fc.property(worlds, (world) => check(journeyOf(world))),
    SEEDS,
  );

/** A journal that says something else and is a chain all the same: whoever wrote it had the pen. */
const rewritten = (journey: Journey, change: (event: Event) => Event['data']): Recorded => {
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

const firstOf = ({ divergences, identical }: Replayed): { step: number; kind: string } | null => {
  assert.equal(identical, divergences.length === 0);
  const [first] = divergences;
  return first === undefined ? null : { step: first.step, kind: first.kind };
};

/** The own model call behind a step: there what was said before it is looked at again. */
const modelCalls = ({ events }: Journey) =>
  events.flatMap((event) => (event.type === 'llm.requested' && event.data.attempt === 1 ? [event.data] : []));

const mostOf = <T>(items: readonly T[], at: number): T | undefined => items[at % Math.max(1, items.length)];

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

test('another prompt parts at the first step, before anything is called', () => {
  forAll((journey) => {
    const recording = recorded(journey);
    const storedSpec = { ...recording.spec, instructions: 'Be of no use.' };
    assert.deepEqual(firstOf(replay({ ...recording, spec: storedSpec, storedSpec })), {
      step: 1,
      kind: 'spec',
    });
  });
});

const tried = ({ entries, ...recording }: Recorded, options: ReplayOptions) =>
  firstOf(replayEntries(entries, recording, options));

test('changed instructions part at the first request; the decisions on recorded answers stay', () => {
  forAll((journey) => {
    const changes = { instructions: 'Be of no use.' };
    const called = modelCalls(journey).length > 0;
    assert.deepEqual(tried(recorded(journey), { changes }), called ? { step: 1, kind: 'request' } : null);
    assert.equal(tried(recorded(journey), { changes, compare: 'decisions' }), null);
  });
});

test('a changed model parts at the first call, also where decisions alone are compared', () => {
  forAll((journey) => {
    const called = modelCalls(journey).length > 0;
    const expected = called ? { step: 1, kind: 'model' } : null;
    for (const compare of COMPARISONS)
      assert.deepEqual(tried(recorded(journey), { changes: { model: 'mock/z' }, compare }), expected);
  });
});

test('a changed output limit parts at the first request; fewer steps, where they are used up', () => {
  forAll((journey) => {
    const recording = recorded(journey);
    const first = journey.events[0];
    assert.ok(first?.type === 'run.submitted');
    const { max_output_tokens } = first.data.limits;
    const asked = modelCalls(journey)[0];
    const higher = tried(recording, { changes: { limits: { max_output_tokens: max_output_tokens + 1 } } });
    const wasFull = asked !== undefined && asked.max_output_tokens === max_output_tokens;
    if (wasFull) assert.deepEqual(higher, { step: 1, kind: 'request' });
    const calls = modelCalls(journey);
    const second = calls.find(({ step }) => step > 1);
    const fewer = tried(recording, { changes: { limits: { max_steps: 1 } }, compare: 'decisions' });
    if (second !== undefined) assert.notEqual(fewer, null);
    if (fewer !== null && calls.length > 0) assert.ok(fewer.kind === 'action' || fewer.kind === 'end');
  });
});

test('what is stored is judged before anything is changed', () => {
  forAll((journey) => {
    const recording = recorded(journey);
    const storedSpec = { ...recording.spec, instructions: 'Be of no use.' };
    const changes = { instructions: recording.spec.instructions };
    assert.deepEqual(tried({ ...recording, storedSpec }, { changes }), { step: 1, kind: 'spec' });
  });
});

test('as many divergences are told of as were asked for', () => {
  forAll((journey) => {
    const { entries, ...recording } = recorded(journey);
    const options = { changes: { model: 'mock/z' }, most: 1 };
    const { divergences } = replayEntries(entries, recording, options);
    assert.equal(divergences.length, modelCalls(journey).length > 0 ? 1 : 0);
  });
});

test('another input parts at the first request', () => {
  forAll((journey) => {
    const called = modelCalls(journey).length > 0;
    const found = firstOf(replay({ ...recorded(journey), input: 'another' }));
    assert.deepEqual(found, called ? { step: 1, kind: 'request' } : null);
  });
});

test('another answer of a model parts at the next request that holds it', () => {
  fc.assert(
    fc.property(worlds, fc.nat(), (world, at) => {
      const journey = journeyOf(world);
      const answers = journey.events.filter((event) => event.type === 'llm.completed');
      const changed = mostOf(answers, at);
      const ref = changed?.refs['output'];
      const recording = recorded(journey);
      const answer = (wanted: string) => {
        const content = recording.contents.answer(wanted);
        return wanted === ref ? { ...content, text: `${content.text} and more` } : content;
      };
      const found = firstOf(replay({ ...recording, contents: { ...recording.contents, answer } }));
      if (changed?.type !== 'llm.completed') return assert.equal(found, null);
      const { has_text, step } = changed.data;
      const behind = modelCalls(journey).find((call) => call.step > step);
      if (!has_text) return assert.deepEqual(found, { step, kind: 'content' });
      assert.deepEqual(found, behind === undefined ? null : { step: behind.step, kind: 'request' });
    }),
    SEEDS,
  );
});

test('another result of a tool parts at that tool', () => {
  fc.assert(
    fc.property(worlds, fc.nat(), (world, at) => {
      const journey = journeyOf(world);
      const results = journey.events.filter(
        ({ type }) => type === 'tool.completed' || type === 'tool.failed',
      );
      const changed = mostOf(results, at);
      const recording = recorded(journey);
      const result = (ref: string) => {
        const content = recording.contents.result(ref);
        return ref === changed?.refs['result'] ? { ...content, text: 'something else' } : content;
      };
      const found = firstOf(replay({ ...recording, contents: { ...recording.contents, result } }));
      const step = changed === undefined ? 0 : 'step' in changed.data ? changed.data.step : 0;
      assert.deepEqual(found, changed === undefined ? null : { step, kind: 'content' });
    }),
    SEEDS,
  );
});

test('a call that was announced to another model parts at its step', () => {
  fc.assert(
    fc.property(worlds, fc.nat(), (world, at) => {
      const journey = journeyOf(world);
      const call = mostOf(modelCalls(journey), at);
      const recording = rewritten(journey, ({ type, data }) =>
        type === 'llm.requested' && data.step === call?.step && data.attempt === 1
          ? { ...data, model: 'mock/dearer' }
          : data,
      );
      const found = firstOf(replay(recording));
      assert.deepEqual(found, call === undefined ? null : { step: call.step, kind: 'model' });
    }),
    SEEDS,
  );
});

test('a call with more room to answer than the limits allow parts at its step', () => {
  forAll((journey) => {
    const recording = rewritten(journey, ({ type, data }) =>
      type === 'llm.requested' ? { ...data, max_output_tokens: data.max_output_tokens + 100_000 } : data,
    );
    const called = modelCalls(journey).length > 0;
    assert.deepEqual(firstOf(replay(recording)), called ? { step: 1, kind: 'request' } : null);
  });
});

test('a tool call that no answer asked for parts at its step', () => {
  fc.assert(
    fc.property(worlds, fc.nat(), (world, at) => {
      const journey = journeyOf(world);
      const calls = journey.events.flatMap((event) => (event.type === 'tool.requested' ? [event.data] : []));
      const changed = mostOf(calls, at);
      const recording = rewritten(journey, ({ type, data }) =>
        type === 'tool.requested' && data.step === changed?.step && data.attempt === changed.attempt
          ? { ...data, name: 'rm_rf' }
          : data,
      );
      const found = firstOf(replay(recording));
      if (changed === undefined) return assert.equal(found, null);
      assert.equal(found?.kind, 'tool');
      // All calls of an answer are told of together, at the first.
      assert.ok((found?.step ?? 0) <= changed.step && (found?.step ?? 0) > changed.step - 3);
    }),
    SEEDS,
  );
});

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

test('a conversation that was too long for its next call is no divergence; the end of another run would be', () => {
  const data = { code: 'context_too_long', message: 'too long', step: 1 };
  const opened = [submitted({ spec_digest: digest(specText(SPEC)) }), claimed()];
  const recording = { spec: SPEC, storedSpec: SPEC, input: '', contents: NOTHING_SAID, digest };
  const endOf = (...more: EventDraft[]): Replayed => {
    const drafts: EventDraft[] = [...opened, ...more, { type: 'run.failed', data }];
    return replayEntries(appendDrafts(EMPTY_HEAD, drafts, { ...OWNER, epoch: 1 }).entries, recording);
  };
  assert.equal(endOf().identical, true);
  assert.equal(firstOf(endOf(abortRequested()))?.kind, 'end');
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

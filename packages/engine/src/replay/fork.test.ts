import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  type AnswerContent,
  type Event,
  type EventDraft,
  NO_USAGE,
  type SealedContent,
  type ToolResultContent,
} from '@signalbox/contracts';
import fc from 'fast-check';
import {
  claimed,
  llmCompleted,
  llmRequested,
  RUN_ID,
  stateAfter,
  submitted,
  toolCall,
  toolCompleted,
  toolFailed,
  toolRequested,
} from '../../test/drafts.ts';
import { contentsOf, digest, INPUT, type Journey } from '../../test/journey.ts';
import { journeyOf, recordingOf } from '../../test/simulation.ts';
import { worlds } from '../../test/world.ts';
import { appendDrafts, chainBreak, EMPTY_HEAD, readEntry } from '../journal/chain.ts';
import { fold } from '../run/fold.ts';
import { forkJournal, type NewRun } from './fork.ts';
import { type ForkPoint, forkProblem } from './fork-point.ts';
import { next } from '../run/next.ts';
import type { Recording } from './recording.ts';
import { replay } from './replay.ts';
import type { RunState } from '../run/state.ts';

const FORK_ID = `run_${'f'.repeat(32)}`;
const CONTEXT = {
  runId: FORK_ID,
  epoch: 0,
  ts: '2026-02-01T00:00:00.000Z',
  actor: { type: 'user', id: 'key_2' },
} as const;

interface Forked {
  readonly events: readonly Event[];
  readonly state: RunState;
  readonly entries: readonly string[];
  readonly recording: Recording;
}

const submission = ({ events }: Journey): EventDraft => {
  const first = events[0];
  if (first?.type !== 'run.submitted') throw new Error('no submission');
  return { type: first.type, data: { ...first.data, forked_from: first.run_id }, refs: first.refs };
};

const forkOf = (journey: Journey, point: ForkPoint): Forked => {
  const sealed = new Map<string, unknown>();
  const run: NewRun = {
    submitted: submission(journey),
    input: INPUT,
    context: CONTEXT,
    digest,
    seal: (value): SealedContent => {
      const ref = `sha256:fork-${sealed.size}`;
      sealed.set(ref, value);
      return [ref, ''];
    },
  };
  const origin = { state: journey.state, events: journey.events, contents: contentsOf(journey) };
  const { entries } = forkJournal(origin, point, run);
  const events = entries.map(readEntry);
  const contents = {
    answer: (ref: string) => sealed.get(ref) as AnswerContent,
    result: (ref: string) => sealed.get(ref) as ToolResultContent,
  };
  return { entries, events, state: fold(events), recording: { ...recordingOf(journey), contents } };
};

/** Every place a journey can be forked at. */
const pointsOf = ({ state }: Journey): ForkPoint[] =>
  Array.from({ length: state.steps.length + 1 }, (_, i) => ({ fromStep: i + 1, toolOutput: null })).filter(
    (point) => forkProblem(state, point) === null,
  );

const forAllForks = (check: (journey: Journey, point: ForkPoint, fork: Forked) => void): void =>
  fc.assert(
    fc.property(worlds, (world) => {
      const journey = journeyOf(world);
      for (const point of pointsOf(journey)) check(journey, point, forkOf(journey, point));
    }),
    { numRuns: 100 },
  );

test('a fork has the steps before from_step and nothing else, in an unbroken chain of its own (R5, R6)', () => {
  forAllForks((journey, { fromStep }, { entries, state, events }) => {
    assert.equal(chainBreak(entries), null);
    assert.equal(state.steps.length, fromStep - 1);
    assert.ok(events.every(({ run_id }) => run_id === FORK_ID));
    for (const step of state.steps) {
      assert.equal(step.kind, journey.state.steps[step.step - 1]?.kind);
      assert.equal(step.attempts.length, 1);
      const taken = step.attempts[0]?.takenFrom;
      const source = journey.events[(taken?.seq ?? 0) - 1];
      assert.deepEqual([source?.run_id, source?.hash], [taken?.run_id, taken?.hash]);
    }
  });
});

test('what is taken over costs nothing and used nothing', () => {
  forAllForks((_journey, _point, { state }) => {
    assert.deepEqual([state.observedNano, state.heldNano, state.estimated], [0, 0, false]);
    assert.deepEqual(state.usage, NO_USAGE);
  });
});

test('the model is then asked what it was asked in the origin, and tools that have a result are not called again', () => {
  forAllForks((journey, { fromStep }, { state }) => {
    const asked = journey.events.findLast(
      (event) => event.type === 'llm.requested' && event.data.step < fromStep,
    );
    const before = asked?.type === 'llm.requested' ? asked.data.request_digest : state.submitted.spec_digest;
    assert.equal(state.requestDigest, before);
    const action = next(state);
    if (action.type === 'call_model') assert.deepEqual([action.step, action.attempt], [fromStep, 1]);
    if (action.type !== 'call_tools') return;
    const open = state.turn?.calls.slice(state.turn.tools.length).map(({ call_id }) => call_id);
    assert.deepEqual(
      action.calls.map(({ callId }) => callId),
      open,
    );
    assert.equal(action.calls[0]?.step, fromStep);
  });
});

test('a fork replays identical (R12)', () => {
  forAllForks((_journey, _point, { entries, recording }) => {
    assert.deepEqual(replay(entries, recording).divergences, []);
  });
});

test('a fork of a fork is a fork', () => {
  forAllForks((journey, point, { state, events, recording }) => {
    if (point.fromStep < 2) return;
    const between = { ...point, fromStep: point.fromStep - 1 };
    if (forkProblem(state, between) !== null) return;
    const { entries } = forkJournal({ state, events, contents: recording.contents }, between, {
      submitted: submission(journey),
      input: INPUT,
      context: { ...CONTEXT, runId: `run_${'e'.repeat(32)}` },
      digest,
      seal: (value) => [`sha256:again-${digest(JSON.stringify(value))}`, ''],
    });
    assert.equal(fold(entries.map(readEntry)).steps.length, between.fromStep - 1);
  });
});

const CALLS = { tool_calls: ['a', 'b', 'c'].map((id) => toolCall(id)), has_text: false };
const sideBySide: readonly EventDraft[] = [
  submitted(),
  claimed(),
  llmRequested(1),
  llmCompleted(1, CALLS),
  toolRequested(2, 'a'),
  toolRequested(3, 'b'),
  toolRequested(4, 'c', { repeatable: false }),
];

const problemAt = (
  drafts: readonly EventDraft[],
  fromStep: number,
  toolOutput: ForkPoint['toolOutput'] = null,
) => forkProblem(stateAfter(...drafts), { fromStep, toolOutput });

const given = (step: number) => ({ step, text: 'so' });

const done = [toolCompleted(2, 'a'), toolCompleted(3, 'b')];
const goneOn = [...done, toolCompleted(4, 'c'), llmRequested(5), llmCompleted(5)];

const TABLE: readonly [string, ReturnType<typeof problemAt>, RegExp | null][] = [
  ['behind the last step', problemAt([...sideBySide, ...goneOn], 6), null],
  ['farther than that', problemAt([...sideBySide, ...goneOn], 7), /1 to 6/],
  ['in the middle of the calls of an answer', problemAt([...sideBySide, ...goneOn], 3), null],
  ['at the call whose worker was lost', problemAt([...sideBySide, ...done], 4), null],
  ['behind a call without a result', problemAt([...sideBySide, ...done], 5), /step 4 has no result/],
  ['behind it, when its output is given', problemAt([...sideBySide, ...done], 5, given(4)), null],
  [
    'behind a call that an abort closed',
    problemAt([...sideBySide, toolFailed(2, 'a', 1, 'aborted')], 3),
    /step 2/,
  ],
  ['behind a call that failed', problemAt([...sideBySide, toolFailed(2, 'a')], 3), null],
  ['with an output for a model call', problemAt([...sideBySide, ...goneOn], 5, given(5)), /no tool call/],
  ['with an output for what is behind', problemAt([...sideBySide, ...goneOn], 2, given(3)), /stands behind/],
  ['with an output the model read', problemAt([...sideBySide, ...goneOn], 6, given(3)), /step 5 was asked/],
];

for (const [name, problem, expected] of TABLE) {
  test(`fork ${name}: ${expected === null ? 'taken' : 'refused'}`, () => {
    if (expected === null) assert.equal(problem, null);
    else assert.match(problem?.message ?? '', expected);
  });
}

test('a given output stands in the place of the recorded one, is nobody else’s, and the other calls are made', () => {
  const world = {
    toolTurns: 95,
    loops: 0,
    badAnswers: 0,
    failures: 0,
    losses: 0,
    handOvers: 0,
    denials: 0,
    aborts: 0,
  };
  const journey = journeyOf({
    ...world,
    seed: 3,
    maxSteps: 30,
    timeoutSeconds: 86_400,
    fallbacks: 0,
    delayed: false,
  });
  const tools = journey.state.steps.filter((step) => step.kind === 'tool');
  assert.ok(tools.length > 3);
  for (const { step } of tools) {
    const fork = forkOf(journey, { fromStep: step, toolOutput: { step, text: 'another' } });
    const replaced = fork.state.steps[step - 1];
    assert.equal(fork.state.steps.length, step);
    assert.ok(replaced?.kind === 'tool' && replaced.status === 'completed');
    assert.equal(fork.recording.contents.result(replaced.resultRef ?? '').text, 'another');
    const written = fork.events.at(-1);
    assert.ok(written?.type === 'tool.completed' && written.data.taken_from === undefined);
    assert.deepEqual(written.actor, CONTEXT.actor);
    assert.deepEqual(replay(fork.entries, fork.recording).divergences, []);
  }
});

const ANSWER: AnswerContent = { text: 'It goes on and', tool_calls: [] };
const SAID = { answer: () => ANSWER, result: () => assert.fail('no result is read') };

/** A fork, behind its only step, of a run whose answer was cut off when it was asked for with so many tokens of 1024. */
const forkOfCutOff = (asked: number, allowed: number): RunState => {
  const drafts = [
    submitted(),
    claimed(),
    llmRequested(1, { max_output_tokens: asked }),
    llmCompleted(1, { finish_reason: 'length' }),
  ];
  let origin = appendDrafts(EMPTY_HEAD, drafts, { ...CONTEXT, runId: RUN_ID }).events;
  // The second is a fork of the fork.
  for (const runId of [FORK_ID, `run_${'e'.repeat(32)}`]) {
    const limits = { max_steps: 20, max_output_tokens: allowed, timeout_seconds: 600 };
    const run: NewRun = {
      submitted: submitted({ limits }),
      input: INPUT,
      context: { ...CONTEXT, runId },
      digest,
      seal: () => ['sha256:answer', ''],
    };
    const point = { fromStep: 2, toolOutput: null };
    const { entries } = forkJournal({ state: fold(origin), events: origin, contents: SAID }, point, run);
    origin = entries.map(readEntry);
  }
  return fold(origin);
};

for (const allowed of [256, 1024, 4096]) {
  test(`an answer that ran into its run's limit is cut off in a fork with a limit of ${allowed} too`, () => {
    const action = next(forkOfCutOff(1024, allowed));
    assert.deepEqual(action.type === 'call_model' ? action.nudge : action.type, 'truncated');
  });

  test(`an answer that was shortened to fit under a cap is good enough in a fork with a limit of ${allowed} too`, () => {
    assert.equal(next(forkOfCutOff(300, allowed)).type, 'succeed');
  });
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Event, EventDraft, Nano } from '@signalbox/contracts';
import fc from 'fast-check';
import {
  aborted,
  claimed,
  costExpired,
  holdOf,
  isoAt,
  llmCompleted,
  llmFailed,
  llmRequested,
  RUN_ID,
  stateAfter,
  submitted,
  toolCall,
  toolCompleted,
  toolRequested,
} from '../../test/drafts.ts';
import type { Journey } from '../../test/journey.ts';
import { journeyOf } from '../../test/simulation.ts';
import { worlds } from '../../test/world.ts';
import { apply, fold } from './fold.ts';
import { JournalError } from '../journal/journal-error.ts';
import type { RunState } from './state.ts';

const forAll = (check: (journey: Journey) => void): void =>
  fc.assert(
    fc.property(worlds, (world) => check(journeyOf(world))),
    { numRuns: 300 },
  );

/** Folds each prefix of a journal and shows it with its last event. */
const eachPrefix = (events: readonly Event[], check: (state: RunState, seq: number) => void): void =>
  events.forEach((_, index) => check(fold(events.slice(0, index + 1)), index + 1));

test('folding a whole journal gives the state that grew event by event', () => {
  forAll((journey) => assert.deepEqual(fold(journey.events), journey.state));
});

test('every prefix of a journal folds, and goes on to the same end', () => {
  forAll(({ events, state }) =>
    eachPrefix(events, (prefix, seq) => {
      assert.equal(prefix.seq, seq);
      for (const event of events.slice(seq)) apply(prefix, event);
      assert.deepEqual(prefix, state);
    }),
  );
});

test('seq is gap-free and epochs never go back (R4, R5)', () => {
  forAll(({ events }) => {
    assert.deepEqual(
      events.map((event) => event.seq),
      events.map((_, index) => index + 1),
    );
    const epochs = events.map((event) => event.epoch);
    assert.deepEqual(
      epochs,
      epochs.toSorted((a, b) => a - b),
    );
  });
});

const TERMINAL = ['run.succeeded', 'run.failed', 'run.aborted'];

test('every journey ends in exactly one terminal event, the last, with no hold open (R2, R7)', () => {
  forAll(({ events, state }) => {
    const ends = events.filter((event) => TERMINAL.includes(event.type));
    assert.deepEqual(ends, events.slice(-1));
    assert.equal(events.at(-1)?.type, `run.${state.status}`);
    assert.equal(state.heldNano, 0);
  });
});

test('nothing can follow the end (R7)', () => {
  forAll(({ events, state }) => {
    const last = events.at(-1);
    assert.ok(last !== undefined);
    assert.throws(() => apply(state, { ...last, seq: last.seq + 1 }), JournalError);
  });
});

test('a step has at most one result, and is never announced after it (R6)', () => {
  forAll(({ events }) => {
    const finished = new Set<number>();
    for (const event of events) {
      if (event.type === 'llm.requested' || event.type === 'tool.requested') {
        assert.ok(!finished.has(event.data.step), `step ${event.data.step} is called after its result`);
      }
      if (['llm.completed', 'tool.completed', 'tool.failed'].includes(event.type)) {
        const { step } = event.data as { step: number };
        assert.ok(!finished.has(step), `step ${step} has two results`);
        finished.add(step);
      }
    }
  });
});

/** What a ledger would say: holds and settlements by hold id. */
const ledgerOf = (events: readonly Event[]): { heldNano: Nano; observedNano: Nano } => {
  const open = new Map<string, Nano>();
  const observed = new Map<string, Nano>();
  for (const event of events) {
    if (event.type === 'llm.requested' && event.data.hold !== null) {
      open.set(event.data.hold.id, event.data.hold.amount_nano);
    }
    if (!('settlement' in event.data) || event.data.settlement === null) continue;
    open.delete(event.data.settlement.hold_id);
    observed.set(event.data.settlement.hold_id, event.data.settlement.observed_nano);
  }
  const sum = (amounts: Iterable<Nano>): Nano => [...amounts].reduce((a, b) => a + b, 0);
  return { heldNano: sum(open.values()), observedNano: sum(observed.values()) };
};

test('held is the sum of the open holds and observed the sum of the settlements, after every event', () => {
  forAll(({ events }) =>
    eachPrefix(events, ({ heldNano, observedNano }, seq) => {
      assert.deepEqual({ heldNano, observedNano }, ledgerOf(events.slice(0, seq)));
      assert.ok(heldNano >= 0);
    }),
  );
});

test('active time is the time between the events of one owner', () => {
  forAll(({ activeMs, state }) => assert.equal(state.activeMs, activeMs));
});

test('active time leaves out the queue, a park and a lost worker', () => {
  const events: [number, EventDraft][] = [
    [0, submitted()],
    [60_000, claimed(1)],
    [61_000, llmRequested(1)],
    [63_000, llmCompleted(1, { tool_calls: [toolCall('a', 'wait')] })],
    [63_000, toolRequested(2, 'a', { name: 'wait', due_at: isoAt(900_000) })],
    [64_000, { type: 'run.parked', data: { reason: 'timer', until: isoAt(900_000) } }],
    [900_000, claimed(2)],
    [900_500, toolCompleted(2, 'a')],
    // The worker is lost here; the next one claims an hour later.
    [4_500_000, claimed(3)],
    [4_500_250, { type: 'run.handed_over', data: { reason: 'drain' } }],
    [5_000_000, claimed(4)],
  ];
  const state = stateAfter(...events.slice(0, 1).map(([, draft]) => draft));
  events.slice(1).forEach(([ms, draft], index) => {
    const place = { run_id: RUN_ID, seq: index + 2, epoch: 1, ts: isoAt(ms), refs: {}, prev: '', hash: '' };
    apply(state, { ...draft, ...place, actor: { type: 'system', id: 'w' } });
  });
  assert.equal(state.activeMs, 4000 + 500 + 250);
});

test('status follows submit, claim, park, hand-over and end', () => {
  const parked: EventDraft = { type: 'run.parked', data: { reason: 'capacity', until: null } };
  const queued = stateAfter(submitted());
  assert.deepEqual([queued.status, queued.waitingFor, queued.startedAt], ['queued', null, null]);
  const delayed = stateAfter(submitted({ run_at: isoAt(9) }));
  assert.deepEqual([delayed.status, delayed.waitingFor], ['waiting', 'timer']);
  const running = stateAfter(submitted(), claimed(), parked, claimed(2));
  assert.deepEqual([running.status, running.waitingFor, running.startedAt], ['running', null, isoAt(1000)]);
  const waiting = stateAfter(submitted(), claimed(), parked);
  assert.deepEqual([waiting.status, waiting.waitingFor], ['waiting', 'capacity']);
  const ended = stateAfter(submitted(), claimed(), aborted());
  assert.deepEqual([ended.status, ended.waitingFor, ended.finishedAt], ['aborted', null, isoAt(2000)]);
});

test('the output of a run is the answer of its last turn', () => {
  const state = stateAfter(submitted(), claimed(), llmRequested(1), llmCompleted(1), {
    type: 'run.succeeded',
    data: { steps: 1 },
  });
  assert.equal(state.outputRef, 'sha256:output-1');
});

test('usage and money count every attempt, failed ones too', () => {
  const state = stateAfter(
    submitted(),
    claimed(),
    llmRequested(1),
    llmFailed(1),
    llmRequested(1, { attempt: 2 }),
    llmCompleted(1, { attempt: 2 }),
  );
  assert.deepEqual([state.usage.input_tokens, state.observedNano, state.heldNano], [20, 200, 0]);
});

test('an attempt without a hold is settled without touching what is held', () => {
  const state = stateAfter(
    submitted(),
    claimed(),
    llmRequested(1, { hold: null }),
    llmCompleted(1, { settlement: null }),
  );
  assert.deepEqual([state.heldNano, state.observedNano], [0, 0]);
});

test('a hold reported expired twice is charged once', () => {
  const drafts = [submitted(), claimed(), llmRequested(1), costExpired(1), costExpired(1)];
  const { heldNano, observedNano, estimated } = stateAfter(...drafts);
  assert.deepEqual([heldNano, observedNano, estimated], [0, 500, true]);
});

test('a late note about an expired hold leaves the attempt that is open now open', () => {
  const again = llmRequested(1, { attempt: 2, hold: holdOf(1, 2, 700) });
  const state = stateAfter(submitted(), claimed(), llmRequested(1), costExpired(1), again, costExpired(1));
  assert.deepEqual([state.turn?.status, state.heldNano], ['open', 700]);
});

test('a fallback stays taken and starts counting failures anew', () => {
  const state = stateAfter(
    submitted({ fallbacks: ['mock/b'] }),
    claimed(),
    llmRequested(1),
    llmFailed(1),
    llmRequested(1, { attempt: 2 }),
    llmFailed(1, { attempt: 2, decision: 'fallback' }),
    llmRequested(1, { attempt: 3, model: 'mock/b' }),
    llmCompleted(1, { attempt: 3 }),
  );
  assert.deepEqual([state.modelIndex, state.failures], [1, 0]);
});

const started = [submitted(), claimed(), llmRequested(1)];
const withTool = [
  ...started,
  llmCompleted(1, { tool_calls: [toolCall('a')] }),
  toolRequested(2, 'a'),
  toolCompleted(2, 'a'),
];

const IMPOSSIBLE: readonly [string, readonly EventDraft[]][] = [
  ['a start that is no submission', [claimed()]],
  ['a second submission', [submitted(), submitted()]],
  ['a result without a call', [submitted(), claimed(), llmCompleted(1)]],
  ['a tool result without a call', [...started, toolCompleted(2, 'a')]],
  ['a tool result for a model call', [...started, toolCompleted(1, 'a')]],
  ['a model result for a tool call', [...withTool, llmCompleted(2)]],
  ['a second model result', [...started, llmCompleted(1), llmCompleted(1)]],
  ['a second tool result', [...withTool, toolCompleted(2, 'a')]],
  ['a failure after a result', [...started, llmCompleted(1), llmFailed(1)]],
  ['a finished model call called again', [...started, llmCompleted(1), llmRequested(1, { attempt: 2 })]],
  ['a finished tool called again', [...withTool, toolRequested(2, 'a', { attempt: 2 })]],
  ['a skipped step', [submitted(), claimed(), llmRequested(2)]],
  ['a skipped attempt', [...started, costExpired(1), llmRequested(1, { attempt: 3 })]],
  ['a result of another attempt', [...started, llmCompleted(1, { attempt: 2 })]],
  ['an expired hold of an unknown attempt', [...started, costExpired(1, 2)]],
  ['an event after the end', [...started, aborted(), claimed()]],
];

for (const [what, drafts] of IMPOSSIBLE) {
  test(`a journal with ${what} is refused`, () => {
    assert.throws(() => stateAfter(...drafts), JournalError);
  });
}

test('an empty journal, a gap, a repeated and a swapped event are refused (R5)', () => {
  assert.throws(() => fold([]), JournalError);
  forAll(({ events, world }) => {
    const at = world.seed % (events.length - 1);
    const [event, after] = [events[at], events[at + 1]];
    assert.ok(event !== undefined && after !== undefined);
    assert.throws(() => fold(events.toSpliced(at, 1)), JournalError);
    assert.throws(() => fold(events.toSpliced(at, 0, event)), JournalError);
    assert.throws(() => fold(events.toSpliced(at, 2, after, event)), JournalError);
  });
});

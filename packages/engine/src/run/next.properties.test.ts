import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Event } from '@signalbox/contracts';
import fc from 'fast-check';
import type { Journey } from '../../test/journey.ts';
import { journeyOf } from '../../test/simulation.ts';
import { type World, worlds } from '../../test/world.ts';
import { fold } from './fold.ts';
import type { Action } from './action.ts';
import { MAX_NUDGES, next } from './next.ts';
import { MAX_ATTEMPTS_PER_MODEL } from './retry.ts';

const forAll = (check: (journey: Journey) => void): void =>
  fc.assert(
    fc.property(worlds, (world) => check(journeyOf(world))),
    { numRuns: 300 },
  );

/** Step numbers an action is about. */
const stepsOf = (action: Action): readonly number[] => {
  if (action.type === 'call_model') return [action.step];
  if (action.type === 'call_tools') return action.calls.map((call) => call.step);
  if (action.type === 'end_wait') return action.steps.map((tool) => tool.step);
  return action.type === 'expire_call' ? [action.step.step] : [];
};

const RESULTS: readonly Event['type'][] = ['llm.completed', 'tool.completed', 'tool.failed'];

test('the same prefix gives the same action, whoever folds it and whenever (R12)', () => {
  forAll(({ events, actions }) => {
    for (const { seq, action } of actions) assert.deepEqual(next(fold(events.slice(0, seq))), action);
  });
});

test('next does not change the state', () => {
  forAll(({ events, actions }) => {
    for (const { seq } of actions) {
      const state = fold(events.slice(0, seq));
      next(state);
      assert.deepEqual(state, fold(events.slice(0, seq)));
    }
  });
});

test('no step with a result is proposed again (R6)', () => {
  forAll(({ events, actions }) => {
    for (const { seq, action } of actions) {
      const finished = events
        .slice(0, seq)
        .flatMap((event) => (RESULTS.includes(event.type) && 'step' in event.data ? [event.data.step] : []));
      for (const step of stepsOf(action)) assert.ok(!finished.includes(step), `step ${step} again`);
    }
  });
});

test('a run that ended has nothing left to do (R7)', () => {
  forAll(({ state }) => assert.deepEqual(next(state), { type: 'none' }));
});

test('steps never pass limits.max_steps', () => {
  forAll(({ state, world }) => assert.ok(state.steps.length <= world.maxSteps));
});

test('the model is never told more than MAX_NUDGES times in a row that its answer was unusable', () => {
  forAll(({ state }) => {
    let inARow = 0;
    for (const step of state.steps) {
      if (step.kind !== 'llm') continue;
      const nudge = step.attempts[0]?.nudge ?? null;
      inARow = nudge === null || nudge === 'loop' ? 0 : inARow + 1;
      assert.ok(inARow <= MAX_NUDGES);
      assert.ok(step.attempts.every((attempt) => attempt.nudge === step.attempts[0]?.nudge));
    }
  });
});

/** What a reader of the journal sees: for each new model call, the calls just repeated too often. */
const repetitions = (events: readonly Event[]): { seq: number; keys: string[] }[] => {
  const args = new Map<string, string>();
  const answers = new Map<number, string[]>();
  const results = new Map<string, string>();
  const seen: string[] = [];
  let asked: string[] = [];
  return events.flatMap(({ seq, type, data }) => {
    if (type === 'llm.completed') {
      asked = data.tool_calls.map((call) => call.call_id);
      answers.set(data.step, asked);
      for (const call of data.tool_calls) args.set(call.call_id, call.args_digest);
    }
    if (type === 'tool.completed' || type === 'tool.failed') {
      results.set(data.call_id, [data.name, args.get(data.call_id), data.result_digest].join());
      if (!asked.every((id) => results.has(id))) return [];
      const from = seen.length;
      seen.push(...asked.map((id) => results.get(id) ?? ''));
      const keys = seen
        .slice(from)
        .filter((key, i) => from + i >= 2 && seen[from + i - 1] === key && seen[from + i - 2] === key);
      return [{ seq, keys: [...new Set(keys)] }];
    }
    return [];
  });
};

test('a call repeated three times is told once to the model, and ends the run when it comes again', () => {
  forAll(({ events, state }) => {
    const told = new Set<string>();
    const turns = repetitions(events);
    turns.forEach(({ seq, keys }, turn) => {
      const behind = events.slice(seq, turns[turn + 1]?.seq ?? events.length);
      const warnings = behind.filter(({ type }) => type === 'guardrail.tripped');
      const calls = behind.flatMap((event) =>
        event.type === 'llm.requested' && event.data.attempt === 1 ? [event.data.nudge] : [],
      );
      const again = keys.some((key) => told.has(key));
      if (again) {
        // An abort may come before the failure.
        assert.ok(state.status === 'aborted' || state.error?.code === 'loop_detected');
        assert.deepEqual(calls, []);
      }
      const looping = keys.length > 0 && calls.length > 0;
      assert.equal(calls[0] === 'loop', looping);
      assert.equal(warnings.length, looping ? keys.length : 0);
      assert.ok(calls.slice(1).every((nudge) => nudge !== 'loop'));
      if (looping) for (const key of keys) told.add(key);
    });
    if (state.error?.code === 'loop_detected') assert.ok(turns.at(-1)?.keys.some((key) => told.has(key)));
  });
});

test('the receipt of an abort says whether a call was open, and what stopping it cost', () => {
  forAll(({ events, state }) => {
    const { aborted } = state;
    if (aborted === null) return;
    const asked = events.findIndex(({ type }) => type === 'run.abort_requested');
    const closed = events.filter(({ data }) => 'code' in data && data.code === 'aborted');
    const givenUp = events.slice(asked).filter(({ type }) => type === 'cost.expired');
    const nano = [...closed, ...givenUp].reduce(
      (sum, { data }) =>
        sum + ('settlement' in data && data.settlement !== null ? data.settlement.observed_nano : 0),
      0,
    );
    assert.deepEqual([aborted.call_closed, aborted.settled_nano], [closed.length > 0, nano]);
    if (closed.length + givenUp.length > 0) assert.equal(aborted.caught, 'in_flight');
    assert.equal(aborted.caught === 'before_start', state.steps.length === 0);
  });
});

test('a step fails on one model at most MAX_ATTEMPTS_PER_MODEL times', () => {
  forAll(({ state }) => {
    for (const step of state.steps) {
      if (step.kind !== 'llm') continue;
      const failed = step.attempts.filter(({ code }) => code !== null && code !== 'worker_lost');
      for (const model of new Set(failed.map((attempt) => attempt.model))) {
        assert.ok(failed.filter((attempt) => attempt.model === model).length <= MAX_ATTEMPTS_PER_MODEL);
      }
    }
  });
});

test('a tool that is not safe to repeat is called once, and every call keeps its idempotency key', () => {
  forAll(({ events }) => {
    const keys = new Map<number, string>();
    for (const event of events) {
      if (event.type !== 'tool.requested') continue;
      const { step, attempt, repeatable, idempotency_key } = event.data;
      if (attempt > 1) assert.ok(repeatable, `step ${step} is called twice`);
      assert.equal(idempotency_key, keys.get(step) ?? idempotency_key);
      keys.set(step, idempotency_key);
    }
  });
});

test('every call of an answer gets exactly one tool step before the model is asked again', () => {
  forAll(({ state }) => {
    for (const step of state.steps) {
      if (step.kind !== 'llm' || step === state.turn) continue;
      assert.deepEqual(
        step.tools.map((tool) => tool.callId),
        step.calls.map((call) => call.call_id),
      );
      assert.ok(step.tools.every((tool) => tool.status !== 'open'));
    }
  });
});

test('after an abort was asked for nothing new starts', () => {
  forAll(({ events }) => {
    const asked = events.findIndex((event) => event.type === 'run.abort_requested');
    const after = asked < 0 ? [] : events.slice(asked + 1).map((event) => event.type);
    const allowed: readonly Event['type'][] = ['cost.expired', 'run.claimed', 'run.aborted', 'run.woken'];
    assert.deepEqual(
      after.filter((type) => !allowed.includes(type)),
      [],
    );
  });
});

/** The properties above say little if the simulated worlds never get anywhere. */
test('the simulated worlds reach every action and every way to end', () => {
  const seen = new Set<string>();
  const base: World = {
    seed: 0,
    maxSteps: 10,
    timeoutSeconds: 10,
    fallbacks: 1,
    delayed: false,
    toolTurns: 60,
    loops: 40,
    badAnswers: 30,
    failures: 30,
    losses: 8,
    handOvers: 10,
    denials: 10,
    aborts: 3,
  };
  for (let seed = 0; seed < 1000; seed++) {
    const { actions, state } = journeyOf({ ...base, seed, loops: seed % 2 === 0 ? base.loops : 95 });
    for (const { action } of actions) seen.add(action.type);
    seen.add(state.error?.code ?? state.status);
  }
  const actions = ['abort', 'call_model', 'call_tools', 'end_wait', 'expire_call', 'fail', 'park', 'succeed'];
  const failures = [
    'cost_cap_exceeded',
    'invalid_output',
    'loop_detected',
    'max_steps',
    'provider_error',
    'timeout',
  ];
  const expected = [...actions, ...failures, 'aborted', 'succeeded', 'uncertain_effect'];
  assert.deepEqual([...seen].toSorted(), expected.toSorted());
});

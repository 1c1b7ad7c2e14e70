import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromUsd, Run, type SubmissionContent } from '@signalbox/contracts';
import fc from 'fast-check';
import {
  abortRequested,
  claimed,
  isoAt,
  llmFailed,
  llmRequested,
  stateAfter,
  submitted,
} from '../../test/drafts.ts';
import { contentsOf, type Journey } from '../../test/journey.ts';
import { journeyOf } from '../../test/simulation.ts';
import { worlds } from '../../test/world.ts';
import { conversationOf } from '../run/conversation.ts';
import { stepsView } from './steps-view.ts';
import { runView } from './run-view.ts';

const submission: SubmissionContent = { input: 'hello', metadata: { k: 'v' } };

const forAll = (check: (journey: Journey) => void): void =>
  fc.assert(
    fc.property(worlds, (world) => check(journeyOf(world))),
    { numRuns: 200 },
  );

test('every run shows as the contract says, and agrees with its journal', () => {
  forAll(({ state }) => {
    const view = runView(state, { submission, output: null });
    assert.deepEqual(Run.parse(view), view);
    assert.equal(view.cost.held_usd, 0);
    assert.equal(fromUsd(view.cost.observed_usd), state.observedNano);
    assert.equal(view.error === null, view.status !== 'failed');
    assert.equal(view.abort !== null, state.abort !== null);
  });
});

test('steps are listed in order, once each, and their costs add up to the cost of the run', () => {
  forAll((journey) => {
    const { state } = journey;
    const views = stepsView(state, { submission, contents: contentsOf(journey) });
    assert.deepEqual(
      views.map((view) => view.index),
      state.steps.map((_, index) => index + 1),
    );
    const observed = views.reduce((sum, view) => sum + fromUsd(view.cost_observed_usd), 0);
    assert.equal(observed, state.observedNano);
  });
});

test('the inputs of the model calls, put together, are the conversation', () => {
  forAll((journey) => {
    const contents = contentsOf(journey);
    const views = stepsView(journey.state, { submission, contents });
    const inputs = views.flatMap((view) => (view.kind === 'llm' ? view.input : []));
    const said = conversationOf(journey.state, 'hello', contents);
    assert.deepEqual(inputs, said.slice(0, Array.isArray(inputs) ? inputs.length : 0));
  });
});

test('without the right to contents a caller sees the steps and no word of them', () => {
  forAll(({ state }) => {
    for (const view of stepsView(state, null)) assert.deepEqual([view.input, view.output], [null, null]);
    assert.equal(stepsView(state, null).length, state.steps.length);
  });
});

test('an attempt that failed counts as estimate and as cost', () => {
  const state = stateAfter(
    submitted(),
    claimed(),
    llmRequested(1),
    llmFailed(1),
    llmRequested(1, { attempt: 2 }),
  );
  const [view] = stepsView(state, null);
  assert.ok(view !== undefined);
  assert.deepEqual([view.attempts, view.status, view.finished_at], [2, 'open', null]);
  assert.deepEqual([fromUsd(view.cost_estimate_usd), fromUsd(view.cost_observed_usd)], [1000, 100]);
});

test('an abort is shown from its request on, before it is in the journal', () => {
  const requested = { requested_at: isoAt(5), by: 'key_9', reason: 'stop' };
  const before = stateAfter(submitted(), claimed());
  const shown = runView(before, { submission: null, output: null, abort: requested });
  const pending = { ...requested, effective_at: null, caught: null, call_closed: null, settled_usd: null };
  assert.deepEqual([shown.abort, shown.input, shown.metadata], [pending, null, {}]);
  const after = stateAfter(submitted(), claimed(), abortRequested());
  assert.equal(runView(after, { submission: null, output: null, abort: requested }).abort?.by, 'key_1');
});

test('a run without a cap of its own shows none', () => {
  const capped = runView(stateAfter(submitted({ cap_nano: 500_000_000 })), { submission, output: null });
  assert.equal(capped.cost.cap_usd, 0.5);
  const uncapped = runView(stateAfter(submitted({ cap_nano: null })), { submission, output: null });
  assert.equal(uncapped.cost.cap_usd, null);
});

test('a failed run shows code, message, step and details', () => {
  const error = { code: 'max_steps', message: 'no more', step: 3, details: { limit: 3 } };
  const state = stateAfter(submitted(), claimed(), { type: 'run.failed', data: error });
  assert.deepEqual(runView(state, { submission, output: null }).error, error);
});

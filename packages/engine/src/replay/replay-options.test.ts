import assert from 'node:assert/strict';
import { test } from 'node:test';
import { COMPARISONS } from '@signalbox/contracts';
import { replay as replayEntries, type ReplayOptions } from './replay.ts';
import { type Recorded, recorded, forAll, firstOf, modelCalls } from '../../test/recorded.ts';

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

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { journeyOf } from '../../test/simulation.ts';
import { worlds } from '../../test/world.ts';
import {
  recorded,
  replay,
  SEEDS,
  forAll,
  rewritten,
  firstOf,
  modelCalls,
  mostOf,
} from '../../test/recorded.ts';

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

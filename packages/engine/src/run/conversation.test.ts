import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Message } from '@signalbox/contracts';
import fc from 'fast-check';
import {
  claimed,
  llmCompleted,
  llmFailed,
  llmRequested,
  stateAfter,
  submitted,
  toolCall,
  toolCompleted,
  toolRequested,
} from '../../test/drafts.ts';
import { contentsOf, type Journey } from '../../test/journey.ts';
import { journeyOf } from '../../test/simulation.ts';
import { worlds } from '../../test/world.ts';
import {
  type Contents,
  conversationOf,
  nudgeMessages,
  openingMessages,
  turnMessages,
} from './conversation.ts';
import { fold } from './fold.ts';

const forAll = (check: (journey: Journey) => void): void =>
  fc.assert(
    fc.property(worlds, (world) => check(journeyOf(world))),
    { numRuns: 300 },
  );

test('before every model call the whole conversation is what grew turn by turn', () => {
  forAll((journey) => {
    const contents = contentsOf(journey);
    let grown = openingMessages('hello');
    for (const { seq, action } of journey.actions) {
      if (action.type !== 'call_model') continue;
      const state = fold(journey.events.slice(0, seq));
      const isNew = action.step > state.steps.length;
      const before = isNew && state.turn !== null ? [...grown, ...turnMessages(state.turn, contents)] : grown;
      assert.deepEqual(conversationOf(state, 'hello', contents), before);
      // A new step brings its own nudge; refused and handed over, it is proposed again.
      // The warning of a loop stands in front of its call.
      const first = journey.events.slice(seq).find(({ type }) => type !== 'guardrail.tripped');
      const announced = first?.type === 'llm.requested';
      if (isNew && announced) grown = [...before, ...nudgeMessages(action.nudge)];
    }
  });
});

test('no message is empty, and each call of an answer is followed by its result, in call order', () => {
  forAll((journey) => {
    const messages = conversationOf(journey.state, 'hello', contentsOf(journey));
    messages.forEach((message, index) => {
      if (message.role !== 'assistant') return;
      assert.ok(message.content !== '' || message.toolCalls.length > 0);
      const results = messages.slice(index + 1, index + 1 + message.toolCalls.length);
      const ids = results.map((result) => (result.role === 'tool' ? result.callId : null));
      const asked = message.toolCalls.map((call) => call.id).slice(0, results.length);
      assert.deepEqual(ids, asked);
    });
  });
});

const contents = (calls: readonly string[]): Contents => ({
  answer: () => ({ text: '', tool_calls: calls.map((id) => ({ id, name: 'calculator', arguments: '{}' })) }),
  result: (ref) => ({ text: `content of ${ref}`, is_error: false }),
});

test('results reach the model in call order, whatever order they arrived in (R12)', () => {
  const ids = ['a', 'b', 'c'];
  const orders = fc.shuffledSubarray([0, 1, 2], { minLength: 3 });
  const inOrder = (order: readonly number[]): Message[] => {
    const state = stateAfter(
      submitted(),
      claimed(),
      llmRequested(1),
      llmCompleted(1, { tool_calls: ids.map((id) => toolCall(id)) }),
      ...ids.map((id, index) => toolRequested(2 + index, id)),
      ...order.map((index) => toolCompleted(2 + index, ids[index] ?? '')),
    );
    return conversationOf(state, 'hi', contents(ids));
  };
  const expected = inOrder([0, 1, 2]);
  assert.deepEqual(
    expected.slice(2).map((message) => message.role === 'tool' && [message.callId, message.content]),
    ids.map((id, index) => [id, `content of sha256:result-${2 + index}`]),
  );
  fc.assert(fc.property(orders, (order) => assert.deepEqual(inOrder(order), expected)));
});

test('a nudge stands once, however many attempts its call takes', () => {
  const state = stateAfter(
    submitted(),
    claimed(),
    llmRequested(1),
    llmCompleted(1, { has_text: false }),
    llmRequested(2, { nudge: 'empty' }),
    llmFailed(2),
    llmRequested(2, { nudge: 'empty', attempt: 2 }),
  );
  assert.deepEqual(conversationOf(state, 'hi', contents([])), [
    { role: 'user', content: 'hi' },
    ...nudgeMessages('empty'),
  ]);
});

test('an answer with nothing in it is left out; one with text alone is kept', () => {
  const turn = stateAfter(submitted(), claimed(), llmRequested(1), llmCompleted(1)).turn;
  assert.ok(turn !== null);
  assert.deepEqual(turnMessages(turn, contents([])), []);
  const spoken: Contents = { ...contents([]), answer: () => ({ text: 'yes', tool_calls: [] }) };
  assert.deepEqual(turnMessages(turn, spoken), [{ role: 'assistant', content: 'yes', toolCalls: [] }]);
});

test('an input of messages is kept as it is', () => {
  assert.deepEqual(
    openingMessages([
      { role: 'user', content: 'a' },
      { role: 'assistant', content: 'b' },
    ]),
    [
      { role: 'user', content: 'a' },
      { role: 'assistant', content: 'b', toolCalls: [] },
    ],
  );
});

test('each nudge says something else; no nudge says nothing', () => {
  const said = (['empty', 'truncated', 'schema', 'loop'] as const).map((nudge) => nudgeMessages(nudge));
  assert.deepEqual(
    said.map((messages) => messages.map((message) => message.role)),
    [['user'], ['user'], ['user'], ['user']],
  );
  assert.equal(new Set(said.map((messages) => messages[0]?.content)).size, 4);
  assert.deepEqual(nudgeMessages(null), []);
});

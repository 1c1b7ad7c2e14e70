import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ModelAnswer } from '@signalbox/contracts';
import { AnswerBuilder } from '../attempt/answer-builder.ts';
import { createMessagesReader } from './anthropic-answer.ts';

const read = (...events: readonly unknown[]): ModelAnswer => {
  const answer = new AnswerBuilder(() => undefined, false);
  const reader = createMessagesReader();
  for (const event of events) reader.onEvent(event, answer);
  return answer.answer('claude');
};

const start = (usage: unknown): unknown => ({ type: 'message_start', message: { id: 'msg_1', usage } });
const TEXT = { type: 'content_block_delta', index: 0, delta: { type: 'text_delta', text: 'whole' } };
const end = (usage: unknown): unknown => ({
  type: 'message_delta',
  delta: { stop_reason: 'end_turn' },
  usage,
});

describe('usage', () => {
  const usage = (first: unknown, last: unknown): unknown => read(start(first), TEXT, end(last)).usage;
  const expected = { input_tokens: 10, output_tokens: 5, cache_read_tokens: 0, cache_write_tokens: 0 };

  it('the end of a stream says what its start did not', () => {
    assert.deepEqual(usage({ input_tokens: 10, output_tokens: 1 }, { output_tokens: 5 }), expected);
    assert.deepEqual(usage({}, { input_tokens: 10, output_tokens: 5 }), expected);
  });

  it('of the output the start knows nothing: without it at the end it is unknown', () => {
    for (const last of [{}, { input_tokens: 10 }, { output_tokens: null }])
      assert.equal(usage({ input_tokens: 10, output_tokens: 1 }, last), null);
  });

  it('the input does not shrink: less of it at the end than at the start is a filler', () => {
    const first = { input_tokens: 6, cache_read_input_tokens: 4, output_tokens: 1 };
    const whole = { ...expected, cache_read_tokens: 4 };
    assert.deepEqual(usage(first, { input_tokens: 0, cache_read_input_tokens: 0, output_tokens: 5 }), whole);
    assert.deepEqual(usage({ input_tokens: 0, output_tokens: 0 }, { ...first, output_tokens: 5 }), whole);
    // Counted as plain at first, and said to be cached at the end.
    assert.deepEqual(usage({ input_tokens: 10, output_tokens: 1 }, { ...first, output_tokens: 5 }), whole);
  });

  it('odd at the end it is unknown, not what the start said, and the answer stands', () => {
    for (const odd of [
      { output_tokens: -5 },
      { output_tokens: 5.5 },
      { output_tokens: '5' },
      5,
      [],
      '',
      null,
    ]) {
      const answer = read(start({ input_tokens: 10, output_tokens: 1 }), TEXT, end(odd));
      assert.deepEqual([answer.text, answer.finishReason, answer.usage], ['whole', 'stop', null]);
    }
  });

  it('odd at the start it is what the end says, if that is all', () => {
    assert.equal(usage({ input_tokens: -1, output_tokens: 1 }, { output_tokens: 5 }), null);
    assert.deepEqual(usage('odd', { input_tokens: 10, output_tokens: 5 }), expected);
  });
});

it('an event of an unknown type is ignored, whatever its fields', () => {
  const unknown = {
    type: 'news',
    message: 'text',
    index: 'first',
    delta: 7,
    usage: 'much',
    content_block: [],
  };
  const answer = read(
    unknown,
    start({ input_tokens: 10, output_tokens: 1 }),
    TEXT,
    unknown,
    end({ output_tokens: 5 }),
  );
  assert.deepEqual([answer.text, answer.usage?.output_tokens], ['whole', 5]);
  for (const name of ['toString', 'constructor', '__proto__'])
    assert.equal(read({ type: name, delta: 7 }).text, '');
});

it('a reason of an unknown name is a plain end, whatever the name', () => {
  for (const reason of ['pause_turn', 'toString', 'constructor', '__proto__']) {
    const { finishReason } = read(TEXT, { type: 'message_delta', delta: { stop_reason: reason } });
    assert.equal(finishReason, 'stop');
  }
});

it('a known event that is none is an error that quotes nothing', () => {
  assert.throws(
    () => read({ type: 'content_block_delta', delta: 'secret' }),
    (error: Error) => /delta/.test(error.message) && !error.message.includes('secret'),
  );
});

describe('tool calls', () => {
  const block = (index: number, input: unknown): unknown => ({
    type: 'content_block_start',
    index,
    content_block: { type: 'tool_use', id: `t${index}`, name: 'f', input },
  });
  const json = (index: number, partial_json: string): unknown => ({
    type: 'content_block_delta',
    index,
    delta: { type: 'input_json_delta', partial_json },
  });
  const written = (...events: readonly unknown[]): string[] =>
    read(start({}), ...events, end({})).toolCalls.map(({ arguments: args }) => args);

  it('whose arguments stand in their beginning have them, as gateways send them that do not stream', () => {
    assert.deepEqual(written(block(0, { n: 1 }), block(1, { n: 2 })), ['{"n":1}', '{"n":2}']);
  });

  it('whose arguments come in pieces have these alone, mixed or not', () => {
    assert.deepEqual(
      written(block(0, {}), json(0, '{"n"'), block(1, { n: 9 }), json(0, ':1}'), json(1, '{"n":2}')),
      ['{"n":1}', '{"n":2}'],
    );
    assert.deepEqual(written(block(0, {}), block(1, null), json(0, '')), ['{}', '{}']);
  });
});

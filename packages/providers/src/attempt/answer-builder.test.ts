import assert from 'node:assert/strict';
import { it } from 'node:test';
import fc from 'fast-check';
import { AnswerBuilder } from './answer-builder.ts';

it('text cut between any two code units comes out whole, in deltas that are valid on their own', () => {
  fc.assert(
    fc.property(fc.array(fc.string({ unit: 'grapheme' })), fc.nat(5), (words, size) => {
      const text = words.join('').toWellFormed();
      const deltas: string[] = [];
      const builder = new AnswerBuilder((delta) => deltas.push(delta), false);
      for (let at = 0; at < text.length; at += size + 1) builder.addText(text.slice(at, at + size + 1));
      const answer = builder.answer('m');
      return (
        answer.text === text && deltas.join('') === text && deltas.every((delta) => delta.isWellFormed())
      );
    }),
  );
});

it('half a pair without its other half becomes the replacement character', () => {
  const builder = new AnswerBuilder(() => undefined, false);
  for (const piece of ['a\ud83d', 'b\ude00', '\ud83d']) builder.addText(piece);
  assert.equal(builder.answer('m').text, 'a\ufffdb\ufffd\ufffd');
});

it('a tool call without id or arguments gets both, and makes a stop a tool_calls', () => {
  const builder = new AnswerBuilder(() => undefined, false);
  builder.requestId = 'req';
  builder.openCall('', 'current_time');
  builder.finishReason = 'stop';
  const { toolCalls, finishReason } = builder.answer('m');
  assert.deepEqual(toolCalls, [{ id: 'req_1', name: 'current_time', arguments: '{}' }]);
  assert.equal(finishReason, 'tool_calls');
});

it('an answer without end is cut off, whatever it consists of', () => {
  const mb = 'x'.repeat(1_000_000);
  const ways: readonly ((builder: AnswerBuilder) => void)[] = [
    (builder) => builder.addText(mb),
    (builder) => builder.addHidden(mb),
    (builder) => builder.addArguments(builder.openCall('', 'f'), mb),
    (builder) => builder.addExtraContent(builder.openCall('', 'f'), mb),
  ];
  for (const add of ways) {
    const builder = new AnswerBuilder(() => undefined, false);
    for (let n = 0; n < 9; n += 1) add(builder);
    assert.throws(() => [add(builder), add(builder)], {
      code: 'provider_error',
      retryable: false,
      billed: 'partial',
    });
  }
});

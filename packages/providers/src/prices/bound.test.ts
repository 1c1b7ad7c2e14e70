import assert from 'node:assert/strict';
import { it } from 'node:test';
import type { Message } from '@signalbox/contracts';
import fc from 'fast-check';
import { boundAfter, boundFresh, frameBytes } from './bound.ts';

const frame = {
  model: 'openai/gpt-4o-mini',
  instructions: 'é',
  tools: [],
  maxOutputTokens: 1,
  temperature: null,
  outputSchema: null,
};

it('a fresh request is bounded by every byte of text in it', () => {
  const text = fc.string({ unit: 'binary', maxLength: 200 });
  fc.assert(
    fc.property(text, text, (instructions, content) => {
      const messages: Message[] = [{ role: 'user', content }];
      const bound = boundFresh(frameBytes({ ...frame, instructions }), messages);
      return bound === Buffer.byteLength(JSON.stringify({ ...frame, instructions, messages })) + 1024;
    }),
  );
});

it('a continued request adds only what is new to the exact usage', () => {
  const added: Message[] = [{ role: 'tool', callId: 'c', content: '世界', isError: false }];
  const json = '[{"role":"tool","callId":"c","content":"世界","isError":false}]';
  assert.equal(
    boundAfter({ inputTokens: 100, outputTokens: 20 }, added),
    100 + 20 + Buffer.byteLength(json) + 1024,
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { QUOTED, withoutQuotes } from './quotes.ts';

const SAID = 'My sister Ada lives at the third house\nbehind the mill, and nobody knows.';

test('a quote goes, what the provider says itself stays', () => {
  const told = (quote: string): string => `HTTP 400: Invalid content: '${quote}' is too odd`;
  assert.equal(withoutQuotes(told(SAID), [SAID]), told(QUOTED));
  assert.equal(withoutQuotes(told('lives at the third house behind the mill'), [SAID]), told(QUOTED));
  assert.equal(withoutQuotes(told('hello Ada'), ['hello Ada']), told(QUOTED));
  assert.equal(withoutQuotes(told('nothing of it'), [SAID, '']), told('nothing of it'));
});

test('two quotes, also of two messages, go both', () => {
  const other = 'The gate is closed from ten at night until the morning.';
  const text = `first: ${SAID.slice(0, 38)}; then: ${other} End`;
  assert.equal(withoutQuotes(text, [SAID, other]), `first: ${QUOTED}; then: ${QUOTED} End`);
  assert.equal(withoutQuotes(other + other, [other]), QUOTED);
});

test('no 24 signs in a row of what was said are left, wherever they stand (R13)', () => {
  const word = fc.stringMatching(/^[a-z]{1,9}$/);
  const words = fc.array(word, { minLength: 8, maxLength: 60 }).map((list) => list.join(' '));
  const quote = fc.tuple(fc.nat({ max: 500 }), fc.integer({ min: 24, max: 220 }));
  fc.assert(
    fc.property(words, quote, fc.tuple(fc.string(), fc.string()), (said, [start, size], [before, behind]) => {
      const from = start % said.length;
      const left = withoutQuotes(before + said.slice(from, from + size) + behind, [said]);
      for (let at = 0; at + 24 <= said.length; at += 1) {
        assert.ok(!left.includes(said.slice(at, at + 24)), left);
      }
    }),
  );
});

test('a text that quotes nothing is left, but for its line breaks', () => {
  fc.assert(
    fc.property(
      fc.stringMatching(/^[A-Z0-9 ]{0,80}$/),
      fc.stringMatching(/^[a-z]{20,200}$/),
      (text, said) => {
        assert.equal(withoutQuotes(text, [said]), text.replaceAll(/\s+/g, ' ').trim());
      },
    ),
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { type JsonValue, wellFormed, wellFormedDeep } from './well-formed.ts';

test('lone surrogates and NUL become U+FFFD; whole characters stay', () => {
  assert.equal(wellFormed('a\u0000b\uD800c\uDC00d\u{1F682}'), 'a\uFFFDb\uFFFDc\uFFFDd\u{1F682}');
});

test('any text comes out such that UTF-8 holds it unchanged and Postgres accepts it', () => {
  fc.assert(
    fc.property(fc.string({ unit: 'binary' }), (text) => {
      const result = wellFormed(text);
      assert.ok(!result.includes('\u0000'));
      assert.equal(Buffer.from(result).toString(), result);
      assert.equal(result.length, text.length);
    }),
  );
});

test('reaches keys and values at every level, and leaves the input alone', () => {
  const input = { 'k\u0000': ['x', { deep: '\uD83D' }], n: 1, none: null };
  assert.deepEqual(wellFormedDeep<JsonValue>(input), {
    'k\uFFFD': ['x', { deep: '\uFFFD' }],
    n: 1,
    none: null,
  });
  assert.deepEqual(Object.keys(input), ['k\u0000', 'n', 'none']);
});

test('parts without anything to replace are not copied', () => {
  const clean = { a: ['b', { c: 'd' }] };
  assert.equal(wellFormedDeep(clean), clean);
  const mixed: { clean: JsonValue; dirty: string } = { clean, dirty: '\u0000' };
  assert.equal(wellFormedDeep(mixed).clean, clean);
});

test('a "__proto__" key stays data', () => {
  const result = wellFormedDeep<JsonValue>(JSON.parse('{"__proto__": {"x": "\\u0000"}}') as JsonValue);
  assert.equal(JSON.stringify(result), '{"__proto__":{"x":"\uFFFD"}}');
});

test('absurd nesting is refused with a message instead of exhausting the stack', () => {
  const nested = JSON.parse('['.repeat(200_000) + ']'.repeat(200_000)) as JsonValue;
  assert.throws(() => wellFormedDeep(nested), /nested deeper than 512 levels/);
});

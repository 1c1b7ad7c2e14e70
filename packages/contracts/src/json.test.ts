import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { z } from 'zod';
import { JsonValue } from './json.ts';

test('whatever JSON can say is read as it is', () => {
  fc.assert(
    fc.property(fc.jsonValue(), (value) => {
      assert.equal(JsonValue.parse(value), value);
      assert.ok(z.json().safeParse(value).success);
    }),
  );
});

const NOT_JSON: readonly unknown[] = [
  undefined,
  Number.NaN,
  Infinity,
  1n,
  Symbol('x'),
  () => 1,
  new Date(0),
  new Map(),
];

test('anything else is refused, wherever it is, as zod itself does', () => {
  for (const value of NOT_JSON) {
    for (const around of [value, [value], { a: value }, [{ a: [value] }]]) {
      assert.ok(!JsonValue.safeParse(around).success, String(value));
      assert.ok(!z.json().safeParse(around).success, String(value));
    }
  }
});

test('a field that is missing is no JSON value', () => {
  assert.ok(!z.object({ value: JsonValue }).safeParse({}).success);
});

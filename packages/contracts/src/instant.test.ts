import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Instant, utcOf } from './instant.ts';

test('an instant is an RFC 3339 time whose year in UTC has four digits', () => {
  for (const text of [
    '2026-01-01T00:00:00Z',
    '0001-01-01T00:00:00Z',
    '9999-12-31T23:59:59.999999999+23:59',
  ]) {
    assert.ok(Instant.safeParse(text).success, text);
  }
  for (const [text, message] of [
    ['2026-01-01T00:00:00', 'expected an RFC 3339 time'],
    ['2026-01-01', 'expected an RFC 3339 time'],
    ['0000-12-31T23:59:59Z', 'expected a time of the years 1 to 9999 in UTC'],
    ['0001-01-01T00:00:00+00:01', 'expected a time of the years 1 to 9999 in UTC'],
    ['9999-12-31T23:59:59-00:01', 'expected a time of the years 1 to 9999 in UTC'],
  ]) {
    const { error } = Instant.safeParse(text);
    assert.deepEqual(
      error?.issues.map((issue) => issue.message),
      [message],
      text,
    );
  }
});

test('in UTC it is the same instant, to the microsecond', () => {
  for (const [text, utc] of [
    ['2026-01-01T00:00:00+23:59', '2025-12-31T00:01:00.000000Z'],
    ['2026-01-01T00:00:00.5Z', '2026-01-01T00:00:00.500000Z'],
    ['2026-01-01T00:00:00.123456789-01:30', '2026-01-01T01:30:00.123456Z'],
    ['0001-01-01T00:00:00Z', '0001-01-01T00:00:00.000000Z'],
  ] as const) {
    assert.equal(utcOf(text), utc);
  }
});

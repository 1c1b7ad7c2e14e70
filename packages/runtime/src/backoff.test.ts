import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { backoffMs } from './backoff.ts';

test('doubles from the base up to the cap', () => {
  const highest = (attempt: number) => backoffMs(attempt, { baseMs: 100, capMs: 1_000, random: () => 1 });
  assert.deepEqual([1, 2, 3, 4, 5, 5_000].map(highest), [100, 200, 400, 800, 1_000, 1_000]);
});

test('never below half of its ceiling nor above it, whatever the attempt', () => {
  fc.assert(
    fc.property(
      fc.nat(10_000),
      fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
      (attempt, dice) => {
        const ceiling = Math.min(5_000, 50 * 2 ** Math.max(0, attempt - 1));
        const delay = backoffMs(attempt, { baseMs: 50, capMs: 5_000, random: () => dice });
        assert.ok(delay >= ceiling / 2 && delay <= ceiling);
      },
    ),
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { SignalboxError } from '@signalbox/contracts';
import { toProblem } from '../src/http/problem.ts';

for (const code of ['state_unavailable', 'audit_store_unavailable'] as const) {
  test(`${code} promises nothing of what was asked for, and says how to find out`, () => {
    // A reply may have been lost, or the second store after the first had taken the change.
    const { detail, error } = toProblem(new SignalboxError(code, 'connect ECONNREFUSED 10.1.2.3:6379'));
    assert.match(detail, /may or may not have been made/);
    assert.match(detail, /the same Idempotency-Key/);
    assert.doesNotMatch(detail, /nothing|10\.1\.2\.3/i);
    assert.equal(error.message, detail);
  });
}

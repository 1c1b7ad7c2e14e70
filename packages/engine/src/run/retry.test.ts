import assert from 'node:assert/strict';
import { test } from 'node:test';
import { claimed, llmFailed, llmRequested, stateAfter, submitted } from '../../test/drafts.ts';
import { decideRetry, type Failure, LONGEST_AWAY_MS, MAX_ATTEMPTS_PER_MODEL } from './retry.ts';
import type { RunState } from './state.ts';

/** A run whose open call comes after this many failures of its model. */
const afterFailures = (failures: number, fallbacks: readonly string[] = []): RunState =>
  stateAfter(
    submitted({ fallbacks: [...fallbacks] }),
    claimed(),
    ...Array.from({ length: failures }, (_, i) => [
      llmRequested(1, { attempt: i + 1 }),
      llmFailed(1, { attempt: i + 1 }),
    ]).flat(),
    llmRequested(1, { attempt: failures + 1 }),
  );

const RETRYABLE: Failure = { retryable: true, awayMs: 0, stopped: null };
const FINAL: Failure = { retryable: false, awayMs: 0, stopped: null };
const AWAY: Failure = { ...RETRYABLE, awayMs: LONGEST_AWAY_MS + 1 };
const LAST = MAX_ATTEMPTS_PER_MODEL - 1;

const TABLE: readonly [string, RunState, Failure, ReturnType<typeof decideRetry>][] = [
  ['a first retryable failure', afterFailures(0, ['mock/b']), RETRYABLE, 'retry'],
  ['the last but one attempt', afterFailures(LAST - 1), RETRYABLE, 'retry'],
  ['the last attempt, with a fallback', afterFailures(LAST, ['mock/b']), RETRYABLE, 'fallback'],
  ['the last attempt, without one', afterFailures(LAST), RETRYABLE, 'give_up'],
  ['a final failure, with a fallback', afterFailures(0, ['mock/b']), FINAL, 'fallback'],
  ['a final failure, without one', afterFailures(0), FINAL, 'give_up'],
  ['a provider that is away for long, with a fallback', afterFailures(0, ['mock/b']), AWAY, 'fallback'],
  ['a provider that is away for long, without one', afterFailures(0), AWAY, 'retry'],
  [
    'a provider that is away for a moment, with a fallback',
    afterFailures(0, ['mock/b']),
    { ...AWAY, awayMs: LONGEST_AWAY_MS },
    'retry',
  ],
  ['a call ended for the run', afterFailures(0, ['mock/b']), { ...AWAY, stopped: 'for_run' }, 'give_up'],
  [
    'a call cut off because the worker must go, at the last attempt',
    afterFailures(LAST, ['mock/b']),
    { ...FINAL, stopped: 'for_worker' },
    'retry',
  ],
];

for (const [name, state, failure, expected] of TABLE) {
  test(`${name}: ${expected}`, () => assert.equal(decideRetry(state, failure), expected));
}

test('all fallbacks taken: give up', () => {
  const state = stateAfter(
    submitted({ fallbacks: ['mock/b'] }),
    claimed(),
    llmRequested(1),
    llmFailed(1, { decision: 'fallback' }),
    llmRequested(1, { attempt: 2, model: 'mock/b' }),
  );
  assert.equal(decideRetry(state, FINAL), 'give_up');
  assert.equal(decideRetry(state, RETRYABLE), 'retry');
});

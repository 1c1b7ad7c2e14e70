import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { RUN_STATUSES, type RunStatus } from '@signalbox/contracts';
import { contentPeriodDays, isContentDue } from './retention.ts';

const DAY = 86_400_000;
const NOW = Date.UTC(2026, 10, 21);
const ENDED: readonly RunStatus[] = ['succeeded', 'failed', 'aborted'];

describe('the period of contents', () => {
  for (const [content_days, event_days, byDefault, expected] of [
    [null, null, null, null],
    [null, null, 200, 200],
    [null, 300, 200, 300],
    [30, null, null, 30],
    [0, 183, null, 0],
    [400, null, 200, 200],
    [250, 300, 200, 250],
  ] as const) {
    test(`contents ${content_days}, events ${event_days}, by default ${byDefault}: ${expected}`, () => {
      assert.equal(contentPeriodDays({ content_days, event_days }, byDefault), expected);
    });
  }
});

describe('contents are due', () => {
  const run = { status: 'succeeded', finishedMs: NOW - 30 * DAY } as const;

  test('from the very end of their period on', () => {
    assert.equal(isContentDue(run, 30, NOW), true);
    assert.equal(isContentDue(run, 30, NOW - 1), false);
    assert.equal(isContentDue(run, 31, NOW), false);
    assert.equal(isContentDue({ ...run, finishedMs: NOW }, 0, NOW), true);
  });

  test('never without a period', () => {
    assert.equal(isContentDue({ ...run, finishedMs: 0 }, null, NOW), false);
  });

  test('of no run that goes on, whatever it says', () => {
    const due = RUN_STATUSES.filter((status) => isContentDue({ ...run, status }, 0, NOW));
    assert.deepEqual(due.toSorted(), ENDED.toSorted());
    for (const status of RUN_STATUSES) {
      assert.equal(isContentDue({ ...run, status, finishedMs: null }, 0, NOW), false, status);
    }
  });
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventData, EventDraft } from '@signalbox/contracts';
import {
  abortRequested,
  claimed,
  costExpired,
  isoAt,
  llmCompleted,
  llmFailed,
  llmRequested,
  stateAfter,
  submitted,
  toolCall,
  toolCompleted,
  toolFailed,
  toolRequested,
} from '../../test/drafts.ts';
import { abortReceipt } from './abort-receipt.ts';
import { runView } from '../view/run-view.ts';

const twoTools = [
  llmRequested(1),
  llmCompleted(1, { tool_calls: [toolCall('a'), toolCall('b')] }),
  toolRequested(2, 'a'),
  toolRequested(3, 'b'),
];
const closed = llmFailed(1, { code: 'aborted', decision: 'give_up' });
const free = llmFailed(1, { code: 'aborted', decision: 'give_up', settlement: null });

/** What the journal says up to the end, and the receipt: where, closed or not, nano-USD. */
const ROWS: readonly [string, readonly EventDraft[], EventData<'run.aborted'>['caught'], boolean, number][] =
  [
    ['nothing was ever called', [abortRequested()], 'before_start', false, 0],
    ['an answer was there', [llmRequested(1), llmCompleted(1), abortRequested()], 'between_steps', false, 0],
    ['an open call was closed', [llmRequested(1), closed, abortRequested()], 'in_flight', true, 100],
    ['a free call was closed', [llmRequested(1), free, abortRequested()], 'in_flight', true, 0],
    [
      'a call that broke by itself was not closed by the abort',
      [llmRequested(1), llmFailed(1), abortRequested()],
      'between_steps',
      false,
      0,
    ],
    [
      'a closed second attempt: the first one is not the price of the abort',
      [
        llmRequested(1),
        llmFailed(1),
        llmRequested(1, { attempt: 2 }),
        llmFailed(1, { attempt: 2, code: 'aborted', decision: 'give_up' }),
        abortRequested(),
      ],
      'in_flight',
      true,
      100,
    ],
    [
      'a lost worker’s call was given up at its hold',
      [llmRequested(1), claimed(2), abortRequested(), costExpired(1)],
      'in_flight',
      false,
      500,
    ],
    [
      'a lost worker’s free call was given up',
      [
        llmRequested(1),
        claimed(2),
        abortRequested(),
        llmFailed(1, { code: 'worker_lost', settlement: null }),
      ],
      'in_flight',
      false,
      0,
    ],
    [
      'a lost call charged before the abort was asked for is not its doing',
      [llmRequested(1), claimed(2), costExpired(1), abortRequested()],
      'between_steps',
      false,
      0,
    ],
    [
      'a hold charged twice counts once',
      [llmRequested(1), claimed(2), costExpired(1), abortRequested(), costExpired(1)],
      'between_steps',
      false,
      0,
    ],
    [
      'one of two tools was closed, whichever came first',
      [...twoTools, toolFailed(2, 'a', 1, 'aborted'), toolCompleted(3, 'b'), abortRequested()],
      'in_flight',
      true,
      0,
    ],
    [
      'both tools were done',
      [...twoTools, toolFailed(3, 'b'), toolCompleted(2, 'a'), abortRequested()],
      'between_steps',
      false,
      0,
    ],
    ['a lost worker’s tools are given up', [...twoTools, abortRequested()], 'in_flight', false, 0],
    [
      'a wait is no open call',
      [
        llmRequested(1),
        llmCompleted(1, { tool_calls: [toolCall('w', 'wait')] }),
        toolRequested(2, 'w', { name: 'wait', due_at: isoAt(1e6) }),
        { type: 'run.parked', data: { reason: 'timer', until: isoAt(1e6) } },
        claimed(2),
        abortRequested(),
      ],
      'between_steps',
      false,
      0,
    ],
  ];

for (const [name, drafts, caught, call_closed, settled_nano] of ROWS) {
  test(`${name}: ${caught}`, () => {
    const state = stateAfter(submitted(), claimed(), ...drafts);
    assert.deepEqual(abortReceipt(state), { caught, call_closed, settled_nano });
  });
}

test('the run shows who asked and, once it has ended, the receipt', () => {
  const drafts = [submitted(), claimed(), llmRequested(1), closed, abortRequested()];
  const contents = { submission: null, output: null };
  const asked = { requested_at: isoAt(0), by: 'key_1', reason: null };
  const none = { effective_at: null, caught: null, call_closed: null, settled_usd: null };
  assert.deepEqual(runView(stateAfter(...drafts), contents).abort, { ...asked, ...none });
  const end: EventDraft = { type: 'run.aborted', data: abortReceipt(stateAfter(...drafts)) };
  const ended = runView(stateAfter(...drafts, end), contents);
  assert.deepEqual(ended.abort, {
    ...asked,
    effective_at: ended.finished_at,
    caught: 'in_flight',
    call_closed: true,
    settled_usd: 1e-7,
  });
});

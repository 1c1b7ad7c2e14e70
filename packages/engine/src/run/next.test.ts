import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventDraft, WaitReason } from '@signalbox/contracts';
import {
  abortRequested,
  claimed,
  costExpired,
  isoAt,
  llmRequested,
  stateAfter,
  submitted,
  toolCall,
  toolCompleted,
  toolFailed,
  toolRequested,
} from '../../test/drafts.ts';
import { next } from './next.ts';
import { called, callsTools, modelCall, type Row, testRow, tool, twoTools } from '../../test/next-rows.ts';

const expiredWait = (reason: WaitReason): EventDraft => ({
  type: 'run.woken',
  data: { reason, expired_since: isoAt(0) },
});

const START: readonly Row[] = [
  { name: 'a fresh run calls its model', drafts: [], expected: modelCall(1) },
  {
    name: 'an open call of a lost worker is charged',
    drafts: [llmRequested(1)],
    expected: { type: 'expire_call' },
  },
  {
    name: 'a charged call is called again',
    drafts: [llmRequested(1), costExpired(1)],
    expected: modelCall(1, 2),
  },
  { name: 'a text is the output', drafts: called(), expected: { type: 'succeed' } },
  {
    name: 'tool calls are called side by side, in order',
    drafts: callsTools,
    expected: { type: 'call_tools', calls: [tool(2, 'a'), tool(3, 'b')] },
  },
  {
    name: 'calls of an answer that was cut off are marked, as their arguments cannot be trusted',
    drafts: called({ tool_calls: [toolCall('a')], finish_reason: 'length' }),
    expected: { type: 'call_tools', calls: [tool(2, 'a', 1, true)] },
  },
  {
    name: 'all results in, good or bad: the model goes on',
    drafts: [...twoTools, toolFailed(3, 'b'), toolCompleted(2, 'a')],
    expected: modelCall(4),
  },
  { name: 'an abort before the first call', drafts: [abortRequested()], expected: { type: 'abort' } },
  { name: 'an abort beats an answer', drafts: [...called(), abortRequested()], expected: { type: 'abort' } },
  { name: 'an abort beats open tools', drafts: [...twoTools, abortRequested()], expected: { type: 'abort' } },
  {
    name: 'an abort after a lost call: charged before the end, as nothing follows the end',
    drafts: [llmRequested(1), abortRequested()],
    expected: { type: 'expire_call' },
  },
  {
    name: 'an abort after a lost call that was charged',
    drafts: [llmRequested(1), abortRequested(), costExpired(1)],
    expected: { type: 'abort' },
  },
  {
    name: 'a wait that lasted too long ends the run, and says what for and since when',
    drafts: [...callsTools, expiredWait('approval')],
    expected: {
      type: 'fail',
      code: 'timeout',
      message: `The run waited for an approval since ${isoAt(0)}, longer than a run may wait. Once that can be had, submit the run again.`,
    },
  },
  {
    name: 'a wait that lasted too long ends the run, also where what it waited for came after all',
    drafts: [...callsTools, expiredWait('capacity'), { type: 'run.woken', data: { reason: 'capacity' } }],
    expected: { type: 'fail', code: 'timeout' },
  },
  {
    name: 'an abort comes before the end of a wait that lasted too long',
    drafts: [expiredWait('capacity'), abortRequested()],
    expected: { type: 'abort' },
  },
  {
    name: 'nothing after the end',
    drafts: [...called(), { type: 'run.succeeded', data: { steps: 1 } }],
    expected: { type: 'none' },
  },
];

const wait = (step: number, callId: string, due: number): EventDraft =>
  toolRequested(step, callId, { name: 'wait', due_at: isoAt(due) });

const waiting = [...callsTools, wait(2, 'a', 50_000), wait(3, 'b', 40_000)];

const wakeAt = (seconds: number): EventDraft[] =>
  Array.from({ length: seconds }, (): EventDraft => ({ type: 'run.woken', data: { reason: 'timer' } }));

const TOOLS: readonly Row[] = [
  {
    name: 'what a lost worker left behind is called again when safe, finished calls are not',
    drafts: [...twoTools, toolCompleted(2, 'a')],
    expected: { type: 'call_tools', calls: [tool(3, 'b', 2)] },
  },
  {
    name: 'a lost call that is not safe to repeat fails the run',
    drafts: [...callsTools, toolRequested(2, 'a'), toolRequested(3, 'b', { repeatable: false })],
    expected: { type: 'fail', code: 'uncertain_effect', failedStep: 3 },
  },
  {
    name: 'a finished call that is not safe to repeat does no harm',
    drafts: [
      ...callsTools,
      toolRequested(2, 'a', { repeatable: false }),
      toolRequested(3, 'b'),
      toolCompleted(2, 'a'),
    ],
    expected: { type: 'call_tools', calls: [tool(3, 'b', 2)] },
  },
  {
    name: 'a repeated call of a truncated answer stays marked',
    drafts: [...called({ tool_calls: [toolCall('a')], finish_reason: 'length' }), toolRequested(2, 'a')],
    expected: { type: 'call_tools', calls: [tool(2, 'a', 2, true)] },
  },
  {
    name: 'waits that are not due park the run until the first is',
    drafts: waiting,
    expected: { type: 'park', reason: 'timer', until: isoAt(40_000) },
  },
  {
    name: "a wait that the store found due is over, however far behind the owner's clock is",
    drafts: [...waiting, { type: 'run.woken', data: { reason: 'timer', at: isoAt(45_000) } }],
    expected: { type: 'end_wait' },
  },
  {
    name: 'a wait that is over leaves the later one',
    drafts: [...waiting, toolCompleted(3, 'b')],
    expected: { type: 'park', reason: 'timer', until: isoAt(50_000) },
  },
  {
    name: 'lost calls come before waiting',
    drafts: [...callsTools, wait(2, 'a', 50_000), toolRequested(3, 'b')],
    expected: { type: 'call_tools', calls: [tool(3, 'b', 2)] },
  },
  {
    name: 'a wait due at the very time of the last event ends',
    drafts: [...callsTools, wait(2, 'a', 6000), toolRequested(3, 'b'), toolCompleted(3, 'b')],
    // submitted, claimed, llm x2, tools x2 and the result: the last event is at second 6.
    expected: { type: 'end_wait' },
  },
];

for (const row of [...START, ...TOOLS]) testRow(row);

test('only the waits that are due end; the others go on', () => {
  const state = stateAfter(submitted(), claimed(), ...waiting, ...wakeAt(36));
  const action = next(state);
  // 42 events: the last is at second 41.
  assert.ok(action.type === 'end_wait');
  assert.deepEqual(
    action.steps.map((step) => step.callId),
    ['b'],
  );
});

test('expire_call names the step whose hold is open', () => {
  const action = next(stateAfter(submitted(), claimed(), llmRequested(1)));
  assert.ok(action.type === 'expire_call');
  assert.equal(action.step.attempts.at(-1)?.hold?.amount_nano, 500);
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventData, EventDraft, WaitReason } from '@signalbox/contracts';
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
} from '../test/drafts.ts';
import { type Action, next } from './next.ts';

/** One row: what the journal says after the claim, and what the owner does then. */
interface Row {
  readonly name: string;
  readonly submitted?: Partial<EventData<'run.submitted'>>;
  readonly drafts: readonly EventDraft[];
  readonly expected: Partial<Action>;
}

const LIMITS = { max_steps: 20, max_output_tokens: 1024, timeout_seconds: 600 };
const called = (data: Partial<EventData<'llm.completed'>> = {}) => [llmRequested(1), llmCompleted(1, data)];
const callsTools = called({ tool_calls: [toolCall('a'), toolCall('b')] });
const twoTools = [...callsTools, toolRequested(2, 'a'), toolRequested(3, 'b')];
const modelCall = (step: number, attempt = 1): Partial<Action> => ({
  type: 'call_model',
  step,
  attempt,
  model: 'mock/a',
  nudge: null,
  notBefore: null,
});
const tool = (step: number, callId: string, attempt = 1, truncated = false) => ({
  step,
  attempt,
  callId,
  name: 'calculator',
  truncated,
});

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

const limits = (changes: Partial<typeof LIMITS>) => ({ limits: { ...LIMITS, ...changes } });

const LIMIT_ROWS: readonly Row[] = [
  {
    name: 'no step left for the model',
    submitted: limits({ max_steps: 3 }),
    drafts: [...twoTools, toolCompleted(2, 'a'), toolCompleted(3, 'b')],
    expected: { type: 'fail', code: 'max_steps' },
  },
  {
    name: 'no steps left for all tool calls: none starts',
    submitted: limits({ max_steps: 2 }),
    drafts: callsTools,
    expected: { type: 'fail', code: 'max_steps' },
  },
  {
    name: 'just enough steps',
    submitted: limits({ max_steps: 3 }),
    drafts: callsTools,
    expected: { type: 'call_tools' },
  },
  {
    name: 'another attempt is no new step',
    submitted: limits({ max_steps: 1 }),
    drafts: [llmRequested(1), llmFailed(1)],
    expected: modelCall(1, 2),
  },
  {
    name: 'the answer at the last step counts',
    submitted: limits({ max_steps: 1 }),
    drafts: called(),
    expected: { type: 'succeed' },
  },
  {
    name: 'out of time before a tool',
    submitted: limits({ timeout_seconds: 2 }),
    drafts: callsTools,
    expected: { type: 'fail', code: 'timeout' },
  },
  {
    name: 'out of time before a retry',
    submitted: limits({ timeout_seconds: 2 }),
    drafts: [llmRequested(1), llmFailed(1)],
    expected: { type: 'fail', code: 'timeout' },
  },
  {
    name: 'out of time before a nudge',
    submitted: limits({ timeout_seconds: 2 }),
    drafts: called({ has_text: false }),
    expected: { type: 'fail', code: 'timeout' },
  },
  {
    name: 'an answer that is there is not thrown away for the time',
    submitted: limits({ timeout_seconds: 1 }),
    drafts: called(),
    expected: { type: 'succeed' },
  },
];

const failed = (data: Partial<EventData<'llm.failed'>>) => [llmRequested(1), llmFailed(1, data)];

const FAILURES: readonly Row[] = [
  {
    name: 'a retry waits for its time',
    drafts: failed({ retry_at: isoAt(9000) }),
    expected: { ...modelCall(1, 2), notBefore: isoAt(9000) },
  },
  {
    name: 'a fallback is the next attempt of the same step',
    submitted: { fallbacks: ['mock/b'] },
    drafts: failed({ decision: 'fallback' }),
    expected: { ...modelCall(1, 2), model: 'mock/b' },
  },
  {
    name: 'the next step stays on the fallback',
    submitted: { fallbacks: ['mock/b'] },
    drafts: [
      ...failed({ decision: 'fallback' }),
      llmRequested(1, { attempt: 2, model: 'mock/b' }),
      llmCompleted(1, { attempt: 2, has_text: false }),
    ],
    expected: { ...modelCall(2), model: 'mock/b', nudge: 'empty' },
  },
  {
    name: 'giving up fails the run with the code of the last attempt',
    drafts: failed({ decision: 'give_up', code: 'provider_auth' }),
    expected: { type: 'fail', code: 'provider_auth', failedStep: 1, message: 'Step 1 (mock/a): overloaded' },
  },
  {
    name: 'a code outside the catalogue becomes provider_error',
    drafts: failed({ decision: 'give_up', code: 'ECONNRESET' }),
    expected: { type: 'fail', code: 'provider_error' },
  },
];

const answer = (name: string, data: Partial<EventData<'llm.completed'>>, expected: Partial<Action>): Row => ({
  name,
  drafts: called(data),
  expected,
});
const lowered = (data: Partial<EventData<'llm.completed'>>) => [
  llmRequested(1, { max_output_tokens: 300 }),
  llmCompleted(1, { finish_reason: 'length', ...data }),
];
const inARow = (times: number, data: Partial<EventData<'llm.completed'>>) =>
  Array.from({ length: times }, (_, i) => [
    llmRequested(i + 1, { nudge: i === 0 ? null : 'empty' }),
    llmCompleted(i + 1, data),
  ]).flat();

const ANSWERS: readonly Row[] = [
  answer('an empty answer', { has_text: false }, { ...modelCall(2), nudge: 'empty' }),
  answer('a truncated answer', { finish_reason: 'length' }, { ...modelCall(2), nudge: 'truncated' }),
  answer('an answer against the schema', { output_valid: false }, { ...modelCall(2), nudge: 'schema' }),
  answer('a refusal', { finish_reason: 'refusal' }, { type: 'fail', code: 'invalid_output', failedStep: 1 }),
  {
    name: 'truncated at a limit that we lowered: better short than nothing',
    drafts: lowered({}),
    expected: { type: 'succeed' },
  },
  {
    name: 'truncated at a lowered limit and against the schema',
    drafts: lowered({ output_valid: false }),
    expected: { ...modelCall(2), nudge: 'schema' },
  },
  {
    name: 'truncated to nothing at a lowered limit',
    drafts: lowered({ has_text: false }),
    expected: { ...modelCall(2), nudge: 'empty' },
  },
  {
    name: 'a second nudge',
    drafts: inARow(2, { has_text: false }),
    expected: { ...modelCall(3), nudge: 'empty' },
  },
  {
    name: 'no third nudge',
    drafts: inARow(3, { has_text: false }),
    expected: { type: 'fail', code: 'invalid_output', failedStep: 3 },
  },
  {
    name: 'a turn with tools in between starts the count anew',
    drafts: [
      ...inARow(2, { has_text: false }),
      llmRequested(3, { nudge: 'empty' }),
      llmCompleted(3, { tool_calls: [toolCall('a')] }),
      toolRequested(4, 'a'),
      toolCompleted(4, 'a'),
      llmRequested(5),
      llmCompleted(5, { has_text: false }),
    ],
    expected: { ...modelCall(6), nudge: 'empty' },
  },
  {
    name: 'another attempt keeps the nudge',
    drafts: [...called({ has_text: false }), llmRequested(2, { nudge: 'empty' }), llmFailed(2)],
    expected: { ...modelCall(2, 2), nudge: 'empty' },
  },
];

for (const row of [...START, ...TOOLS, ...LIMIT_ROWS, ...FAILURES, ...ANSWERS]) {
  test(row.name, () => {
    const state = stateAfter(submitted(row.submitted), claimed(), ...row.drafts);
    assert.partialDeepStrictEqual(next(state), row.expected);
  });
}

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

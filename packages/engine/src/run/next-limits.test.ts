/** What the owner does at a limit, after a failed call, and after an answer that is of no use. */
import type { EventData } from '@signalbox/contracts';
import {
  isoAt,
  llmCompleted,
  llmFailed,
  llmRequested,
  toolCall,
  toolCompleted,
  toolRequested,
} from '../../test/drafts.ts';
import { called, callsTools, modelCall, type Row, testRow, twoTools } from '../../test/next-rows.ts';
import type { Action } from './action.ts';

const LIMITS = { max_steps: 20, max_output_tokens: 1024, timeout_seconds: 600 };
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

const lowered = (data: Partial<EventData<'llm.completed'>>) => [
  llmRequested(1, { max_output_tokens: 300 }),
  llmCompleted(1, { finish_reason: 'length', ...data }),
];

const inARow = (times: number, data: Partial<EventData<'llm.completed'>>) =>
  Array.from({ length: times }, (_, i) => [
    llmRequested(i + 1, { nudge: i === 0 ? null : 'empty' }),
    llmCompleted(i + 1, data),
  ]).flat();

const answer = (name: string, data: Partial<EventData<'llm.completed'>>, expected: Partial<Action>): Row => ({
  name,
  drafts: called(data),
  expected,
});

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
    name: 'no third nudge for one who spent all of the limit before the first word: what to raise is said',
    drafts: inARow(3, { has_text: false, finish_reason: 'length' }),
    expected: {
      type: 'fail',
      code: 'invalid_output',
      message: 'The model ran into limits.max_output_tokens before it wrote anything 3 times in a row.',
    },
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

for (const row of [...LIMIT_ROWS, ...FAILURES, ...ANSWERS]) testRow(row);

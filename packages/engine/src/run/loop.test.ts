import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventDraft } from '@signalbox/contracts';
import {
  claimed,
  llmCompleted,
  llmRequested,
  stateAfter,
  submitted,
  toolCall,
  toolCompleted,
  toolFailed,
  toolRequested,
} from '../../test/drafts.ts';
import { LOOP_LENGTH } from './loop.ts';
import type { Action } from './action.ts';
import { next } from './next.ts';

/** A call as `arguments/result`; the tool is named by what stands before a colon. */
type Call = string;

const partsOf = (call: Call) => {
  const [, name = 'calculator', args = '', result = ''] = /^(?:(\w+):)?(\w+)\/(\w+)$/.exec(call) ?? [];
  return { name, args, result };
};

/** A turn: the model call that asks for tools, then their results, the last one first. */
const turn = (step: number, calls: readonly Call[], nudge: 'loop' | null): EventDraft[] => {
  const ids = calls.map((_, i) => `c${step}_${i}`);
  const asked = calls.map((call, i) => {
    const { name, args } = partsOf(call);
    return toolCall(ids[i] ?? '', name, args);
  });
  return [
    llmRequested(step, { nudge }),
    llmCompleted(step, { tool_calls: asked }),
    ...calls.map((call, i) => toolRequested(step + 1 + i, ids[i] ?? '', { name: partsOf(call).name })),
    ...calls
      .map((call, i): EventDraft => {
        const { name, result } = partsOf(call);
        const draft = result.startsWith('bad')
          ? toolFailed(step + 1 + i, ids[i] ?? '')
          : toolCompleted(step + 1 + i, ids[i] ?? '');
        return { ...draft, data: { ...draft.data, name, result_digest: result } } as EventDraft;
      })
      .toReversed(),
  ];
};

/** Plays turns, each warned as `next` says; gives what `next` says at each end. */
const play = (...turns: readonly (readonly Call[])[]): Action[] => {
  const drafts: EventDraft[] = [submitted(), claimed()];
  const actions: Action[] = [];
  let step = 1;
  for (const calls of turns) {
    const last = actions.at(-1);
    drafts.push(...turn(step, calls, last?.type === 'call_model' && last.nudge === 'loop' ? 'loop' : null));
    step += 1 + calls.length;
    actions.push(next(stateAfter(...drafts)));
  }
  return actions;
};

const brief = (actions: readonly Action[]): string =>
  actions
    .map((action) => {
      if (action.type === 'fail') return action.code;
      return action.type === 'call_model' ? (action.nudge ?? 'go') : action.type;
    })
    .join(' ');

const SAME = ['a/r'];
const ROWS: readonly [string, readonly (readonly Call[])[], string][] = [
  ['three equal calls: told; a fourth: over', [SAME, SAME, SAME, SAME], 'go go loop loop_detected'],
  ['equal calls in one answer count', [['a/r', 'a/r', 'a/r']], 'loop'],
  [
    'more than three in one answer are told first',
    [['a/r', 'a/r', 'a/r', 'a/r'], SAME],
    'loop loop_detected',
  ],
  [
    'a row over two answers',
    [
      ['b/r', 'a/r'],
      ['a/r', 'a/r'],
      ['a/r', 'b/r'],
    ],
    'go loop loop_detected',
  ],
  ['other arguments are another call', [SAME, SAME, ['b/r'], SAME, SAME], 'go go go go go'],
  ['another result is progress', [SAME, SAME, ['a/s'], SAME, SAME], 'go go go go go'],
  ['another tool with the same digests', [SAME, SAME, ['wait:a/r'], SAME], 'go go go go'],
  ['the same error over and over', [['a/bad'], ['a/bad'], ['a/bad']], 'go go loop'],
  ['told and changed: goes on', [SAME, SAME, SAME, ['b/r'], SAME, SAME], 'go go loop go go go'],
  [
    'told and back in the same loop: over, without a second warning',
    [SAME, SAME, SAME, ['b/r'], SAME, SAME, SAME],
    'go go loop go go go loop_detected',
  ],
  [
    'another loop has its own warning',
    [SAME, SAME, SAME, ['b/r'], ['b/r'], ['b/r'], ['b/r']],
    'go go loop go go loop loop_detected',
  ],
  ['two loops in one answer', [['a/r', 'a/r', 'a/r', 'b/r', 'b/r', 'b/r'], ['b/r']], 'loop loop_detected'],
];

for (const [name, turns, expected] of ROWS) {
  test(`${name}: ${expected}`, () => assert.equal(brief(play(...turns)), expected));
}

test('the failure names the call that was one too many', () => {
  const last = play(SAME, SAME, SAME, SAME).at(-1);
  assert.ok(last?.type === 'fail');
  assert.equal(last.failedStep, 8);
  assert.match(last.message, /calculator at step 8/);
});

test('a warning is no nudge of an unusable answer: two of those still follow it', () => {
  const looped = [1, 3, 5].flatMap((step) => turn(step, SAME, null));
  const empty = (step: number, nudge: 'loop' | 'empty'): EventDraft[] => [
    llmRequested(step, { nudge }),
    llmCompleted(step, { has_text: false }),
  ];
  const drafts = [submitted(), claimed(), ...looped, ...empty(7, 'loop'), ...empty(8, 'empty')];
  assert.partialDeepStrictEqual(next(stateAfter(...drafts)), { type: 'call_model', step: 9, nudge: 'empty' });
  const over = stateAfter(...drafts, ...empty(9, 'empty'));
  assert.partialDeepStrictEqual(next(over), { type: 'fail', code: 'invalid_output' });
});

test('an attempt that fails is repeated with the warning', () => {
  const looped = [1, 3, 5].flatMap((step) => turn(step, SAME, null));
  const failed: EventDraft = {
    type: 'llm.failed',
    data: {
      ...llmCompleted(7).data,
      code: 'provider_error',
      message: 'overloaded',
      http_status: 529,
      decision: 'retry',
      retry_at: null,
    },
  };
  const state = stateAfter(submitted(), claimed(), ...looped, llmRequested(7, { nudge: 'loop' }), failed);
  assert.partialDeepStrictEqual(next(state), { type: 'call_model', step: 7, attempt: 2, nudge: 'loop' });
  assert.equal(LOOP_LENGTH, 3);
});

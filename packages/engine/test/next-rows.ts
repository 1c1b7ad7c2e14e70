/** What the tables of next() are written with. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { EventData, EventDraft } from '@signalbox/contracts';
import {
  claimed,
  llmCompleted,
  llmRequested,
  stateAfter,
  submitted,
  toolCall,
  toolRequested,
} from './drafts.ts';
import type { Action } from '../src/run/action.ts';
import { next } from '../src/run/next.ts';

/** One row: what the journal says after the claim, and what the owner does then. */
export interface Row {
  readonly name: string;
  readonly submitted?: Partial<EventData<'run.submitted'>>;
  readonly drafts: readonly EventDraft[];
  readonly expected: Partial<Action>;
}

export const testRow = ({ name, submitted: changes, drafts, expected }: Row): void =>
  void test(name, () => {
    const state = stateAfter(submitted(changes), claimed(), ...drafts);
    assert.partialDeepStrictEqual(next(state), expected);
  });

export const called = (data: Partial<EventData<'llm.completed'>> = {}) => [
  llmRequested(1),
  llmCompleted(1, data),
];
export const callsTools = called({ tool_calls: [toolCall('a'), toolCall('b')] });
export const twoTools = [...callsTools, toolRequested(2, 'a'), toolRequested(3, 'b')];

export const modelCall = (step: number, attempt = 1): Partial<Action> => ({
  type: 'call_model',
  step,
  attempt,
  model: 'mock/a',
  nudge: null,
  notBefore: null,
});

export const tool = (step: number, callId: string, attempt = 1, truncated = false) => ({
  step,
  attempt,
  callId,
  name: 'calculator',
  truncated,
});

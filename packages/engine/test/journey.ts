import { createHash } from 'node:crypto';
import {
  AgentSpec,
  type AnswerContent,
  type Entry,
  type Event,
  type EventDraft,
  type ToolResultContent,
} from '@signalbox/contracts';
import { appendDrafts } from '../src/journal/chain.ts';
import type { Contents } from '../src/run/conversation.ts';
import { apply } from '../src/run/fold.ts';
import type { Action } from '../src/run/action.ts';
import type { RunState } from '../src/run/state.ts';
import { RUN_ID } from './drafts.ts';
import type { Dice, World } from './world.ts';

/**
 * One run of the simulation: its journal, and the world around it. The store refuses announcements after an abort,
 * machines die, and time passes with and without an owner.
 */
export interface Journey {
  readonly world: World;
  readonly dice: Dice;
  readonly entries: Entry[];
  readonly events: Event[];
  state: RunState;
  /** What `next` said, and behind which seq. */
  readonly actions: { readonly seq: number; readonly action: Action }[];
  /** Time with an owner as the simulation counts it: between events of one activation. */
  activeMs: number;
  nowMs: number;
  epoch: number;
  /** Milliseconds since the last event that had an owner. */
  ownedMs: number;
  owned: boolean;
  abortFlag: boolean;
  /** When the timer wakes the parked run. */
  wakeAtMs: number;
  losses: number;
  readonly answers: Map<string, AnswerContent>;
  readonly results: Map<string, ToolResultContent>;
}

export const INPUT = 'hello';

/** Stands for the HMAC under the run's key. */
export const digest = (text: string): string => createHash('sha256').update(text).digest('hex');

export const specOf = (world: World): AgentSpec =>
  AgentSpec.parse({
    instructions: 'Be of use.',
    model: 'mock/a',
    fallbacks: ['mock/b', 'mock/c'].slice(0, world.fallbacks),
    tools: ['calculator', 'http_request', 'wait'],
  });

const MAX_LOSSES = 15;

/** Thrown where a worker dies; whatever it did not commit is gone. */
export class WorkerLost extends Error {}

export const tick = (journey: Journey, ms: number): void => {
  journey.nowMs += ms;
  if (journey.owned) journey.ownedMs += ms;
};

export const maybeLose = (journey: Journey): void => {
  if (journey.losses >= MAX_LOSSES || !journey.dice.chance(journey.world.losses)) return;
  journey.losses += 1;
  throw new WorkerLost();
};

/** Commits results: they are written whether or not the run may go on. */
export const record = (journey: Journey, drafts: readonly EventDraft[]): void => {
  const ts = new Date(journey.nowMs).toISOString();
  const actor = { type: 'system', id: `worker-${journey.epoch}` } as const;
  const context = { runId: RUN_ID, epoch: journey.epoch, ts, actor };
  const { entries, events } = appendDrafts(journey.state, drafts, context);
  for (const event of events) apply(journey.state, event);
  journey.entries.push(...entries);
  journey.events.push(...events);
  journey.activeMs += journey.ownedMs;
  journey.ownedMs = 0;
};

/**
 * Commits an announcement; false when the store refused it because of the abort flag. Only then may the worker act
 * (R3).
 */
export const announce = (journey: Journey, drafts: readonly EventDraft[]): boolean => {
  journey.abortFlag ||= journey.dice.chance(journey.world.aborts);
  if (journey.abortFlag) return false;
  record(journey, drafts);
  maybeLose(journey);
  return true;
};

/** The worker lets go of the run. */
export const release = (journey: Journey): void => {
  journey.owned = false;
  journey.ownedMs = 0;
};

export const contentsOf = (journey: Journey): Contents => ({
  answer: (ref) => found(journey.answers.get(ref), ref),
  result: (ref) => found(journey.results.get(ref), ref),
});

const found = <T>(content: T | undefined, ref: string): T => {
  if (content === undefined) throw new Error(`no content ${ref}`);
  return content;
};

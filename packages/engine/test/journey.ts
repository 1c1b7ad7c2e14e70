import { createHash } from 'node:crypto';
import {
  AgentSpec,
  type AnswerContent,
  type Entry,
  type Event,
  type EventDraft,
  type ToolResultContent,
} from '@signalbox/contracts';
import { appendDrafts, EMPTY_HEAD } from '../src/chain.ts';
import type { Contents } from '../src/conversation.ts';
import { apply, fold } from '../src/fold.ts';
import type { Action } from '../src/action.ts';
import { next } from '../src/next.ts';
import { specText } from '../src/request.ts';
import type { Recording } from '../src/recording.ts';
import { isEnded, type RunState } from '../src/state.ts';
import { performAction } from './activation.ts';
import { abortRequested, claimed, EPOCH_START, RUN_ID, submitted } from './drafts.ts';
import { type Dice, diceOf, type World } from './world.ts';

/**
 * One run through a troubled world, without Redis, models or clocks: what a fleet of workers would write
 * into its journal. `activation.ts` is the worker; here is what surrounds it: the store that refuses
 * announcements after an abort, machines that die, time that passes with and without an owner.
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

const MAX_ACTIONS = 5000;
const MAX_LOSSES = 15;
const HOUR = 3_600_000;

/** Thrown where a worker dies; whatever it did not commit is gone. */
class WorkerLost extends Error {}

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

const submit = (world: World): Journey => {
  const dice = diceOf(world.seed);
  const context = {
    runId: RUN_ID,
    epoch: 0,
    ts: new Date(EPOCH_START).toISOString(),
    actor: { type: 'user', id: 'key_1' } as const,
  };
  const spec = specOf(world);
  const draft = submitted({
    spec_digest: digest(specText(spec)),
    fallbacks: spec.fallbacks,
    limits: { max_steps: world.maxSteps, max_output_tokens: 1024, timeout_seconds: world.timeoutSeconds },
    run_at: world.delayed ? new Date(EPOCH_START + HOUR).toISOString() : null,
  });
  const { entries, events } = appendDrafts(EMPTY_HEAD, [draft], context);
  return {
    world,
    dice,
    entries: [...entries],
    events: [...events],
    state: fold(events),
    actions: [],
    activeMs: 0,
    nowMs: EPOCH_START,
    epoch: 0,
    ownedMs: 0,
    owned: false,
    abortFlag: false,
    wakeAtMs: world.delayed ? EPOCH_START + HOUR : 0,
    losses: 0,
    answers: new Map(),
    results: new Map(),
  };
};

/** Time without an owner: in the queue, parked until woken, or until the lease of a lost worker expires. */
const waitForClaim = (journey: Journey): void => {
  journey.abortFlag ||= journey.dice.chance(journey.world.aborts);
  // An abort wakes a parked run early.
  if (!journey.abortFlag) journey.nowMs = Math.max(journey.nowMs, journey.wakeAtMs);
  journey.nowMs += journey.dice.below(HOUR);
  journey.wakeAtMs = 0;
};

const claim = (journey: Journey): void => {
  const wokenFrom = journey.state.waitingFor;
  journey.epoch += 1;
  record(journey, [
    claimed(journey.epoch),
    ...(wokenFrom === null ? [] : [{ type: 'run.woken', data: { reason: wokenFrom } } as const]),
  ]);
  journey.owned = true;
};

/** `claim -> (next -> act)* -> park, hand over, finish or die`. */
const activation = (journey: Journey): void => {
  claim(journey);
  while (journey.owned && !isEnded(journey.state)) {
    tick(journey, journey.dice.below(50));
    // Notes of others become events with the owner's next commit (R4).
    if (journey.abortFlag && journey.state.abort === null) record(journey, [abortRequested()]);
    const action = next(journey.state);
    // Cloned, since parts of it are state that goes on changing.
    journey.actions.push({ seq: journey.state.seq, action: structuredClone(action) });
    if (journey.actions.length > MAX_ACTIONS) throw new Error('the journey does not end');
    performAction(journey, action);
  }
};

/** Takes a run from its submission to its end. */
export const journeyOf = (world: World): Journey => {
  const journey = submit(world);
  while (!isEnded(journey.state)) {
    waitForClaim(journey);
    try {
      activation(journey);
    } catch (error) {
      if (!(error instanceof WorkerLost)) throw error;
    }
    release(journey);
  }
  return journey;
};

export const contentsOf = (journey: Journey): Contents => ({
  answer: (ref) => found(journey.answers.get(ref), ref),
  result: (ref) => found(journey.results.get(ref), ref),
});

/** What was stored of a journey. */
export const recordingOf = (journey: Journey): Recording => {
  const spec = specOf(journey.world);
  return { spec, storedSpec: spec, input: INPUT, contents: contentsOf(journey), digest };
};

const found = <T>(content: T | undefined, ref: string): T => {
  if (content === undefined) throw new Error(`no content ${ref}`);
  return content;
};

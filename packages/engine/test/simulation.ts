import { appendDrafts, EMPTY_HEAD } from '../src/journal/chain.ts';
import { fold } from '../src/run/fold.ts';
import { next } from '../src/run/next.ts';
import type { Recording } from '../src/replay/recording.ts';
import { specText } from '../src/run/request.ts';
import { isEnded } from '../src/run/state.ts';
import { performAction } from './activation.ts';
import { abortRequested, claimed, EPOCH_START, RUN_ID, submitted } from './drafts.ts';
import {
  contentsOf,
  digest,
  INPUT,
  type Journey,
  record,
  release,
  specOf,
  tick,
  WorkerLost,
} from './journey.ts';
import { diceOf, type World } from './world.ts';

/**
 * One run through a troubled world, without Redis, models or clocks: what a fleet of workers would write into its
 * journal. `activation.ts` is the worker, `journey.ts` what surrounds it.
 */
const MAX_ACTIONS = 5000;
const HOUR = 3_600_000;

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

/** What was stored of a journey. */
export const recordingOf = (journey: Journey): Recording => {
  const spec = specOf(journey.world);
  return { spec, storedSpec: spec, input: INPUT, contents: contentsOf(journey), digest };
};

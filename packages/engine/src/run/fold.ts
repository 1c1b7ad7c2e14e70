import { type Event, type EventOf, NO_USAGE } from '@signalbox/contracts';
import {
  costExpired,
  llmCompleted,
  llmFailed,
  llmRequested,
  toolEnded,
  toolRequested,
} from './fold-steps.ts';
import { JournalError } from '../journal/journal-error.ts';
import type { RunState } from './state.ts';

const start = (event: Event): RunState => {
  if (event.type !== 'run.submitted' || event.seq !== 1) {
    throw new JournalError(
      `a journal starts with run.submitted at seq 1, not with ${event.type} at seq ${event.seq}`,
    );
  }
  const { data, refs, ts } = event;
  return {
    runId: event.run_id,
    submitted: data,
    limits: data.limits,
    submissionRef: refs['submission'] ?? '',
    specRef: refs['spec'] ?? '',
    seq: event.seq,
    hash: event.hash,
    epoch: event.epoch,
    status: data.run_at === null ? 'queued' : 'waiting',
    waitingFor: data.run_at === null ? null : 'timer',
    steps: [],
    turn: null,
    openTools: 0,
    nudges: 0,
    modelIndex: 0,
    failures: 0,
    usage: NO_USAGE,
    observedNano: 0,
    heldNano: 0,
    estimated: false,
    requestDigest: data.spec_digest,
    activeMs: 0,
    createdAt: ts,
    startedAt: null,
    finishedAt: null,
    lastTs: ts,
    knownTime: ts,
    expiredWait: null,
    abort: null,
    stopped: { closed: false, givenUp: false, nano: 0 },
    aborted: null,
    row: { key: '', length: 0 },
    loops: [],
    warnedOf: [],
    error: null,
    outputRef: null,
  };
};

const finish = (state: RunState, event: Event, status: RunState['status']): void => {
  state.status = status;
  state.waitingFor = null;
  state.finishedAt = event.ts;
};

const toStatus = (
  state: RunState,
  status: RunState['status'],
  reason: RunState['waitingFor'] = null,
): void => {
  state.status = status;
  state.waitingFor = reason;
};

const later = (a: string, b: string): string => (a < b ? b : a);

const woken = (state: RunState, { data }: EventOf<'run.woken'>): void => {
  if (data.at !== undefined) state.knownTime = later(state.knownTime, data.at);
  if (data.expired_since !== undefined)
    state.expiredWait ??= { reason: data.reason, since: data.expired_since };
};

const nothing = (): void => {};

/** What each event does. Those that do `nothing` explain; what they lead to is an event of its own. */
const CHANGES: { readonly [T in Event['type']]: (state: RunState, event: EventOf<T>) => void } = {
  'run.submitted': (state, event) => {
    throw new JournalError(`run ${state.runId} is submitted twice, at seq ${event.seq}`);
  },
  'run.claimed': (state, event) => {
    state.startedAt ??= event.ts;
    toStatus(state, 'running');
  },
  'run.parked': (state, event) => toStatus(state, 'waiting', event.data.reason),
  'run.woken': woken,
  'run.handed_over': (state) => toStatus(state, 'queued'),
  'run.abort_requested': (state, event) => {
    state.abort ??= event.data;
  },
  'run.succeeded': (state, event) => {
    state.outputRef = state.turn?.outputRef ?? null;
    finish(state, event, 'succeeded');
  },
  'run.failed': (state, event) => {
    finish(state, event, 'failed');
    state.error = event.data;
  },
  'run.aborted': (state, event) => {
    finish(state, event, 'aborted');
    state.aborted = event.data;
  },
  'llm.requested': llmRequested,
  'llm.completed': llmCompleted,
  'llm.failed': llmFailed,
  'tool.requested': toolRequested,
  'tool.completed': toolEnded,
  'tool.failed': toolEnded,
  'cost.denied': nothing,
  'cost.expired': costExpired,
  'approval.requested': nothing,
  'approval.decided': nothing,
  'guardrail.tripped': nothing,
  handoff: nothing,
  'child.spawned': nothing,
  'child.finished': nothing,
};

// The table pairs each type with its event; TypeScript cannot follow the pair through a lookup.
const change = (state: RunState, event: Event): void =>
  (CHANGES[event.type] as (state: RunState, event: Event) => void)(state, event);

/** Written with a decision that was made before them: to a replay they take no time (R12). */
const EXPLAINING: ReadonlySet<Event['type']> = new Set(['guardrail.tripped', 'cost.denied']);

const takeTime = (state: RunState, { type, ts }: Event): void => {
  if (EXPLAINING.has(type)) return;
  // Of one write they have the same time.
  if (ts !== state.lastTs && state.status === 'running' && type !== 'run.claimed') {
    state.activeMs += Math.max(0, Date.parse(ts) - Date.parse(state.lastTs));
  }
  state.lastTs = ts;
};

/** Adds one event to the state, in place. Throws `JournalError` on a gap or an event after the end (R5, R7). */
export const apply = (state: RunState, event: Event): void => {
  if (event.seq !== state.seq + 1) {
    throw new JournalError(`run ${state.runId}: expected seq ${state.seq + 1}, found ${event.seq}`);
  }
  if (state.finishedAt !== null) {
    throw new JournalError(`run ${state.runId} ended at seq ${state.seq}; nothing may follow it`);
  }
  takeTime(state, event);
  change(state, event);
  state.seq = event.seq;
  state.hash = event.hash;
  state.epoch = event.epoch;
  state.knownTime = later(state.knownTime, event.ts);
};

/** `state = fold(events)`: the whole run from its journal. */
export const fold = (events: readonly Event[]): RunState => {
  const [first, ...rest] = events;
  if (first === undefined) throw new JournalError('a journal has at least one event');
  const state = start(first);
  for (const event of rest) apply(state, event);
  return state;
};

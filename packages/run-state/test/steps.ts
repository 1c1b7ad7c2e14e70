import assert from 'node:assert/strict';
import { newId, type WaitReason } from '@signalbox/contracts';
import { appendDrafts, EMPTY_HEAD } from '@signalbox/engine';
import {
  type Activation,
  type CommitReply,
  hibernateRuns,
  listSleepy,
  type LoadableRun,
  markStored,
  type Partition,
  setTenantCaps,
  type Submission,
} from '../src/index.ts';
import { aborted, completed, DAY, handedOver, parked, requested, submitted, succeeded } from './drafts.ts';
import { journal, keyOf, record } from './inspect.ts';
import {
  claim,
  freshPartition,
  lease,
  loadable,
  type Owner,
  settle,
  submit,
  TENANT,
  type Write,
} from './support.ts';

/** Steps that a test takes with runs by hand, on top of the builders of support.ts. */
export const END: Write = { announce: [succeeded()], after: { type: 'finish', status: 'succeeded' } };
export const STOP: Write = { announce: [aborted()], after: { type: 'finish', status: 'aborted' } };
export const HAND_OVER: Write = { announce: [handedOver()], after: { type: 'hand_over', failed: false } };

/** A repair that leaves alone what was given to the queue just now. */
export const GRACE = { limit: 100, graceMs: 60_000 };

/** Announces a paid call. */
export const ask = (
  owner: Owner,
  amount: number,
  { id = 'h1', step = 1, day = DAY } = {},
): Promise<CommitReply> => owner.write({ announce: [requested(step)], hold: { id, amount, day } });

/** The end of a paid call, with what it cost. */
export const settled = (
  owner: Owner,
  observed: number,
  { id = 'h1', step = 1, expired = false } = {},
): Promise<CommitReply> =>
  owner.write({ results: [completed(step)], settlements: [settle(id, observed, expired)] });

export interface ParkOptions {
  readonly reason?: WaitReason;
  readonly dueMs?: number | null;
  /** What the scope must have room for. */
  readonly need?: number;
  /** Default: the tenant's day. */
  readonly scope?: 'tenant_day' | 'user_day';
}

export const park = (
  owner: Owner,
  { reason = 'timer', dueMs = null, need, scope = 'tenant_day' }: ParkOptions = {},
): Promise<CommitReply> =>
  owner.write({
    announce: [parked(reason)],
    after: {
      type: 'park',
      reason,
      wakeSeq: owner.run.wakeSeq,
      dueMs,
      capacity: need === undefined ? null : { scope, needNano: need, day: DAY },
    },
  });

/** Parks a run until pressure is over. */
export const parkUnderPressure = (owner: Owner, wakeSeq = owner.run.wakeSeq): Promise<CommitReply> =>
  owner.write({
    announce: [parked('capacity')],
    after: { type: 'park', reason: 'capacity', wakeSeq, dueMs: null, capacity: null, pressure: true },
  });

/** How many commits may wait for Postgres, as a submit of an api with that limit leaves it. */
export const limitTo = (partition: Partition, limit: number): Promise<number> =>
  partition.redis.hset(keyOf(partition, 'pressure'), 'backlog_limit', limit);

export const SESSION = 'b7e0b0e8-5d1c-4c58-9b3e-1d1f2f3a4b5c';
const CONTENT = ['sha256:a', 'x'.repeat(5000)] as const;

/** The first event of a run of a session. */
export const firstEntry = (): { runId: string; entry: string } => {
  const runId = newId('run');
  const { entries } = appendDrafts(EMPTY_HEAD, [submitted({ tenant_id: TENANT, session_id: SESSION })], {
    runId,
    epoch: 0,
    ts: '2026-01-01T00:00:00.000Z',
    actor: { type: 'user', id: 'u1' },
  });
  return { runId, entry: entries[0] ?? '' };
};

/** A run of a session with content, parked; Postgres is said to have all of it. */
export const parkedRun = async (
  partition: Partition,
  options: ParkOptions = {},
  stored = true,
): Promise<Owner> => {
  const { runId, entry } = firstEntry();
  await submit(partition, { runId, userId: 'u1', entries: [entry], contents: [CONTENT] });
  const owner = await claim(partition, runId);
  await park(owner, options);
  if (stored) await markStored(partition, [{ runId, seq: 2 }], 60);
  return owner;
};

/** All that is parked, for however short. */
export const ALL = { parkedMs: 0, skip: 0, limit: 100 };

/** What the scheduler does, for a Postgres that has everything. */
export const sleepAll = async (partition: Partition): Promise<string[]> =>
  hibernateRuns(partition, (await listSleepy(partition, ALL)).runs);

/** A run as Postgres would have it; of what is here before it sleeps. */
export const storedCopy = async (partition: Partition, runId: string): Promise<LoadableRun> => {
  const entries = await journal(partition, runId);
  const { user = '', rank, key = '', epoch, head = '' } = await record(partition, runId);
  return loadable({
    runId,
    rootRunId: runId,
    userId: user,
    priority: rank === '1' ? 'normal' : 'high',
    capNano: null,
    wrappedKey: key,
    epoch: Number(epoch),
    seq: entries.length,
    head,
    wakeSeq: 1,
    status: 'waiting',
    waitingFor: 'timer',
    parkedMs: 1,
    entries,
    contents: new Map([CONTENT]),
  });
};

/** A repair that sees all runs of a test with many. */
export const REPAIR = { ...GRACE, limit: 200 };

/** A partition whose tenant has these caps, and a lease with that many slots. */
export const capped = async (
  caps: { maxRuns?: number | null; userMaxRuns?: number | null },
  slots = 100,
): Promise<{ partition: Partition; leaseId: string }> => {
  const partition = await freshPartition();
  await setTenantCaps(partition, TENANT, caps);
  return { partition, leaseId: await lease(partition, slots) };
};

/** Submits runs one after the other; what each admitted. */
export const submitAll = async (
  partition: Partition,
  runs: readonly Partial<Submission>[],
): Promise<{ runIds: string[]; activations: Activation[] }> => {
  const runIds: string[] = [];
  const activations: Activation[] = [];
  for (const overrides of runs) {
    const made = await submit(partition, overrides);
    runIds.push(made.runId);
    activations.push(...made.activations);
  }
  return { runIds, activations };
};

export const times = <T>(count: number, value: T): T[] => Array.from({ length: count }, () => value);
export const idsOf = (activations: readonly Activation[]): string[] => activations.map(({ runId }) => runId);

/** Claims the run that an activation is for. */
export const work = (
  partition: Partition,
  leaseId: string,
  activation: Activation | undefined,
): Promise<Owner> => {
  assert.ok(activation);
  return claim(partition, activation.runId, { wakeSeq: activation.wakeSeq, leaseId });
};

/** Works off everything, one after the other, and gives the order. */
export const workOff = async (
  partition: Partition,
  leaseId: string,
  first: readonly Activation[],
): Promise<string[]> => {
  const due = [...first];
  const order: string[] = [];
  for (let next = due.shift(); next !== undefined; next = due.shift()) {
    order.push(next.runId);
    due.push(...(await (await work(partition, leaseId, next)).write(END)).activations);
  }
  return order;
};

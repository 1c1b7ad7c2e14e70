import { randomUUID } from 'node:crypto';
import { newId, type WaitReason } from '@signalbox/contracts';
import {
  type Activation,
  claimRun,
  closeLease,
  type CommitReply,
  openLease,
  type Partition,
  repair,
  renewLease,
  requestAbort,
  setTenantCaps,
  wakeRun,
} from '../src/index.ts';
import {
  aborted,
  abortRequested,
  completed,
  DAY,
  FLAG,
  handedOver,
  parked,
  requested,
  succeeded,
  woken,
} from './drafts.ts';
import { limitTo } from './steps.ts';
import { expireLease, type Owner, ownerOf, settle, submit, type Write } from './support.ts';

/**
 * A small fleet driven one step at a time, for tests that look at every state in between. It owns what lies
 * outside run state: jobs with the queue, workers with leases, what each believes of its run, its open call.
 * Nothing here is careful: jobs get lost, doubled or late, and owners write long after their lease is over.
 */
export interface Work {
  readonly owner: Owner;
  hold: { readonly id: string; readonly amount: number } | null;
  wakeSeq: number;
  notes: CommitReply['notes'];
}

export interface World {
  readonly partition: Partition;
  readonly runs: string[];
  readonly jobs: Activation[];
  readonly leases: string[];
  readonly work: Work[];
  /** Holds whose call is open, by id: amount. What a lost worker left stays here until it is charged. */
  readonly holds: Map<string, { runId: string; amount: number }>;
  /** Caps of concurrency changed since the last repair, which is who notices. */
  capsChanged: boolean;
  /** What happened, so that a test can tell that it tested something. */
  readonly seen: Set<string>;
}

export const makeWorld = (partition: Partition): World => ({
  partition,
  runs: [],
  jobs: [],
  leases: [],
  work: [],
  holds: new Map(),
  capsChanged: false,
  seen: new Set(),
});

/** Picks by a random number, so that a shrunk walk stays a walk. */
export const pick = <T>(from: readonly T[], at: number): T | undefined => from[at % Math.max(1, from.length)];

export const TENANTS = ['acme', 'beta'] as const;
const USERS = ['u1', 'u2', null, 'u1'] as const;

export const submitOne = async (world: World, at: number): Promise<void> => {
  const made = await submit(world.partition, {
    tenantId: pick(TENANTS, at) ?? 'acme',
    userId: pick(USERS, Math.floor(at / 7)) ?? null,
    priority: pick(['high', 'normal', 'low'] as const, at) ?? 'normal',
    dueMs: at % 5 === 0 ? Date.now() + 3_600_000 : null,
  });
  world.runs.push(made.runId);
  world.jobs.push(...made.activations);
};

const RUNS_AT_ONCE = [null, 1, 2, 3] as const;

export const changeCaps = async (world: World, at: number, n: number): Promise<void> => {
  world.capsChanged = true;
  await setTenantCaps(world.partition, pick(TENANTS, at) ?? 'acme', {
    maxRuns: pick(RUNS_AT_ONCE, n) ?? null,
    userMaxRuns: pick(RUNS_AT_ONCE, Math.floor(n / 4)) ?? null,
  });
};

export const openOne = async (world: World, slots: number): Promise<void> => {
  const leaseId = newId('lease');
  const opened = await openLease(world.partition, { leaseId, leaseMs: 600_000, slots });
  world.leases.push(leaseId);
  if (opened.type === 'live') world.jobs.push(...opened.activations);
};

const forget = (list: string[], item: string): void => void list.splice(list.indexOf(item), 1);

export const expireOne = async ({ partition, leases }: World, leaseId: string): Promise<void> => {
  forget(leases, leaseId);
  await expireLease(partition, leaseId);
};

export const closeOne = async ({ partition, leases }: World, leaseId: string): Promise<void> => {
  forget(leases, leaseId);
  await closeLease(partition, leaseId);
};

export const renewOne = async (world: World, leaseId: string): Promise<void> => {
  const renewed = await renewLease(world.partition, { leaseId, leaseMs: 600_000, slots: 2 });
  if (renewed.type === 'live') world.jobs.push(...renewed.activations);
};

/** A claim; the new owner charges the holds that an owner before it left open, as a worker does. */
export const claimOne = async (
  world: World,
  { runId, wakeSeq, leaseId }: { runId: string; wakeSeq: number | null; leaseId: string | null },
): Promise<Work | null> => {
  const { partition } = world;
  const outcome = await claimRun(partition, {
    runId,
    wakeSeq,
    leaseId: leaseId ?? newId('lease'),
    token: randomUUID(),
    ...(leaseId === null ? { leaseMs: 600_000 } : {}),
  });
  world.seen.add(outcome.type === 'refused' ? outcome.why : outcome.type);
  if (outcome.type !== 'claimed') return null;
  const { run } = outcome;
  if (leaseId === null) world.leases.push(run.leaseId);
  const owner = ownerOf(partition, run, {
    seq: run.entries.length,
    hash: (run.entries.at(-1) ?? '').slice(0, 64),
  });
  const work: Work = { owner, hold: null, wakeSeq: run.wakeSeq, notes: run.notes };
  world.work.push(work);
  const left = [...world.holds].filter(([, hold]) => hold.runId === runId);
  if (left.length > 0) {
    world.seen.add('charged-lost-call');
    const settlements = left.map(([id, { amount }]) => settle(id, amount, true));
    const reply = await commit(world, work, { results: left.map(() => completed(1)), settlements });
    if (reply.code === 'OK' || reply.code === 'ABORTED') for (const [id] of left) world.holds.delete(id);
  }
  return work;
};

const GONE = ['FENCED', 'TERMINAL', 'CONFLICT', 'NOT_FOUND'];

/** Sends a write and believes the reply; an owner that was refused is out. */
const commit = async (world: World, work: Work, write: Write): Promise<CommitReply> => {
  const reply = await work.owner.write(write);
  world.seen.add(reply.code);
  world.jobs.push(...reply.activations);
  work.wakeSeq = reply.wakeSeq;
  work.notes = reply.notes;
  const released = reply.code === 'OK' && write.after !== undefined && write.after.type !== 'go';
  if (released || GONE.includes(reply.code)) world.work.splice(world.work.indexOf(work), 1);
  return reply;
};

/** The results an owner has at hand: its notes, and its call with what it cost. */
const resultsOf = (work: Work, cost: number): Required<Pick<Write, 'results' | 'settlements' | 'notes'>> => {
  const { hold, notes } = work;
  return {
    results: [
      ...notes.map((note) => (note.type === 'abort' ? abortRequested() : woken(note.reason))),
      ...(hold === null ? [] : [completed(1)]),
    ],
    settlements: hold === null ? [] : [settle(hold.id, Math.min(cost, hold.amount))],
    notes: notes.length,
  };
};

const act = async (
  world: World,
  work: Work,
  cost: number,
  next: Pick<Write, 'announce' | 'hold' | 'after'>,
) => {
  const { hold } = work;
  const reply = await commit(world, work, { ...resultsOf(work, cost), ...next });
  if (hold !== null && !GONE.includes(reply.code)) {
    world.holds.delete(hold.id);
    work.hold = null;
  }
  return reply;
};

export const waitFor = (world: World, work: Work, cost: number, reason: WaitReason): Promise<CommitReply> =>
  act(world, work, cost, {
    announce: [parked(reason)],
    after: {
      type: 'park',
      reason,
      wakeSeq: work.wakeSeq,
      dueMs: reason === 'timer' ? Date.now() + 3_600_000 : null,
      capacity: null,
    },
  });

const parkUnderPressure = (world: World, work: Work): Promise<CommitReply> => {
  const { wakeSeq } = work;
  const after = { type: 'park', reason: 'capacity', wakeSeq, dueMs: null, capacity: null } as const;
  return act(world, work, 0, { announce: [parked('capacity')], after: { ...after, pressure: true } });
};

/** Commits that may wait for Postgres, which is away all the time: none is as if it had just gone. */
export const limitBacklog = async ({ partition }: World, limit: number | null): Promise<void> => {
  const waiting = await partition.redis.xlen(`${partition.root}:audit`);
  await limitTo(partition, limit ?? waiting + 1_000_000);
};

/** Announces a paid call; without room it waits for some, as long as others' holds are in the way, else ends. */
export const call = async (world: World, work: Work, cost: number, amount: number): Promise<void> => {
  const { runId } = work.owner.run;
  const hold = { id: `${runId}:${randomUUID()}`, amount, day: DAY };
  const reply = await act(world, work, cost, { announce: [requested(1, null)], hold });
  if (reply.code === 'PRESSURE') await parkUnderPressure(world, work);
  else if (reply.code === 'OK') {
    world.holds.set(hold.id, { runId, amount });
    work.hold = hold;
  } else if (reply.code === 'DENIED') {
    const scope = reply.scopes.find((s) => s.spentNano + s.heldNano + amount > s.capNano);
    if (scope === undefined || scope.heldNano === 0 || scope.spentNano + amount > scope.capNano) {
      await end(world, work, 0);
      return;
    }
    world.seen.add('waits-for-room');
    await act(world, work, 0, {
      announce: [parked('capacity')],
      after: {
        type: 'park',
        reason: 'capacity',
        wakeSeq: work.wakeSeq,
        dueMs: null,
        capacity: { scope: scope.scope, needNano: amount, day: DAY },
      },
    });
  }
};

export const handOver = (world: World, work: Work, cost: number): Promise<CommitReply> =>
  act(world, work, cost, { announce: [handedOver()], after: { type: 'hand_over', failed: false } });

/** Ends a run, as aborted when an abort was asked for. */
export const end = async (world: World, work: Work, cost: number): Promise<void> => {
  const reply = await act(world, work, cost, {
    announce: [succeeded()],
    after: { type: 'finish', status: 'succeeded' },
  });
  if (reply.code === 'ABORTED') {
    await act(world, work, cost, { announce: [aborted()], after: { type: 'finish', status: 'aborted' } });
  }
};

export const askToAbort = async ({ partition }: World, runId: string): Promise<void> => {
  for (const tenantId of TENANTS) {
    await requestAbort(partition, { runId, tenantId, flag: FLAG }).catch(() => undefined);
  }
};

export const wakeOne = async (world: World, runId: string): Promise<void> => {
  world.jobs.push(...(await wakeRun(world.partition, runId, 'approval')).activations);
};

export const fireTimers = async ({ partition }: World): Promise<void> => {
  const key = `${partition.root}:timers`;
  for (const runId of await partition.redis.zrange(key, '0', '-1')) await partition.redis.zadd(key, 1, runId);
};

export const repairAll = async (world: World, graceMs: number): Promise<void> => {
  const { activations, unended, ...counts } = await repair(world.partition, { limit: 100, graceMs });
  if (unended.length > 0) world.seen.add('unended');
  world.capsChanged = false;
  world.jobs.push(...activations);
  for (const [name, count] of Object.entries(counts)) if (count > 0) world.seen.add(name);
};

import { randomUUID } from 'node:crypto';
import { after } from 'node:test';
import { type EventDraft, newId, SignalboxError } from '@signalbox/contracts';
import { appendDrafts, EMPTY_HEAD, type Head } from '@signalbox/engine';
import { testRedisUrl } from '@signalbox/local';
import { createLogger, systemClock } from '@signalbox/runtime';
import type { Redis } from 'ioredis';
import {
  type Activation,
  type After,
  type Claimed,
  claimRun,
  type Commit,
  type CommitReply,
  commitRun,
  type CommitSettlement,
  connect,
  type ConnectionRole,
  disconnect,
  Leadership,
  type LoadableRun,
  openLease,
  markTrusted,
  openPartition,
  type Partition,
  readServerId,
  setTenantCaps,
  type Submission,
  submitRun,
  type TenantCaps,
} from '../src/index.ts';
import { submitted } from './drafts.ts';

/** Builders for tests that drive run state by hand, each on a namespace of its own. */
export const TENANT = 'acme';
const TS = '2026-01-01T00:00:00.000Z';
const ACTOR = { type: 'system', id: 'worker-1' } as const;

const opened: Redis[] = [];
after(async () => {
  await Promise.all(opened.map(disconnect));
});

/** A connection that is closed after the tests of this file. */
export const openRedis = async (role: ConnectionRole = 'state', url?: string): Promise<Redis> => {
  const redis = connect(url ?? (await testRedisUrl()), role, { onError: () => undefined });
  opened.push(redis);
  return redis;
};

/** What the scheduler does after a verification: the scripts write on this server. */
export const trust = async (partition: Partition): Promise<void> =>
  markTrusted(partition, { ...(await readServerId(partition)), incarnation: 0 });

/** Sets caps of tenant `acme`; those of a run and of a day that are not named are none. */
export const cap = (partition: Partition, caps: Partial<TenantCaps> = {}): Promise<void> =>
  setTenantCaps(partition, TENANT, {
    runNano: null,
    userDailyNano: null,
    tenantDailyNano: null,
    timeZone: 'UTC',
    ...caps,
  });

let shared: Promise<Redis> | undefined;

/** An empty partition; tenant `acme` has no caps. */
export const freshPartition = async (redis?: Redis): Promise<Partition> => {
  const partition = openPartition(redis ?? (await (shared ??= openRedis())), {
    namespace: `test-${randomUUID()}`,
  });
  await cap(partition);
  await trust(partition);
  return partition;
};

export interface SubmittedRun {
  readonly runId: string;
  readonly submission: Submission;
  readonly head: Head;
}

/** A submission with a real `run.submitted` entry. */
export const makeSubmission = (overrides: Partial<Submission> = {}): SubmittedRun => {
  const runId = overrides.runId ?? newId('run');
  const { entries, head } = appendDrafts(EMPTY_HEAD, [submitted({ tenant_id: TENANT })], {
    runId,
    epoch: 0,
    ts: TS,
    actor: ACTOR,
  });
  const submission: Submission = {
    runId,
    tenantId: TENANT,
    userId: null,
    agent: 'support',
    rootRunId: runId,
    priority: 'normal',
    capNano: null,
    wrappedKey: 'wrapped-key',
    dueMs: null,
    idempotency: [],
    entries,
    contents: [],
    ...overrides,
  };
  return { runId, submission, head };
};

/** A run as Postgres has it, of which nothing is here. */
export const loadable = (overrides: Partial<LoadableRun> = {}): LoadableRun => {
  const { runId, submission, head } = makeSubmission();
  return {
    runId,
    tenantId: TENANT,
    userId: 'u1',
    agent: 'support',
    rootRunId: runId,
    priority: 'normal',
    capNano: 500,
    wrappedKey: 'wrapped-key',
    epoch: 7,
    seq: 1,
    head: head.hash,
    wakeSeq: 3,
    createdMs: 1,
    status: 'queued',
    waitingFor: null,
    dueMs: null,
    parkedMs: null,
    abort: null,
    entries: submission.entries,
    holds: [],
    contents: new Map([['sha256:a', 'sealed']]),
    ...overrides,
  };
};

/** Submits a run and says which runs may start now. */
export const submit = async (
  partition: Partition,
  overrides: Partial<Submission> = {},
): Promise<SubmittedRun & { activations: readonly Activation[] }> => {
  const made = makeSubmission(overrides);
  const outcome = await submitRun(partition, made.submission, { backlogLimit: 1_000_000 });
  if (outcome.type !== 'created') throw new Error(`run ${made.runId} exists`);
  return { ...made, activations: outcome.activations };
};

/** Opens a lease that outlives the test. */
export const lease = async (partition: Partition, slots = 0): Promise<string> => {
  const leaseId = newId('lease');
  await openLease(partition, { leaseId, leaseMs: 600_000, slots });
  return leaseId;
};

/** Back-dates a lease, as if its process had been silent for too long. */
export const expireLease = async (partition: Partition, leaseId: string): Promise<void> => {
  await partition.redis.zadd(`${partition.root}:leases`, 'XX', 1, leaseId);
};

export interface Write {
  readonly results?: readonly EventDraft[];
  readonly settlements?: readonly CommitSettlement[];
  readonly notes?: number;
  readonly progress?: boolean;
  readonly announce?: readonly EventDraft[];
  readonly hold?: { readonly id: string; readonly amount: number; readonly day: string };
  readonly after?: After;
  readonly contents?: Partial<Record<'results' | 'announcement', readonly (readonly [string, string])[]>>;
}

/** An owner of a run: knows where the journal ends and writes behind it. */
export interface Owner {
  readonly run: Claimed;
  readonly head: Head;
  /** The commit as it would be sent now; sending it does not move `head`. */
  build(write: Write): Commit;
  send(commit: Commit): Promise<CommitReply>;
  write(write: Write): Promise<CommitReply>;
}

export const ownerOf = (partition: Partition, run: Claimed, start: Head): Owner => {
  let head = start;
  const build = (write: Write): Commit => {
    const context = { runId: run.runId, epoch: run.epoch, ts: TS, actor: ACTOR };
    const results = appendDrafts(head, write.results ?? [], context);
    const announced = appendDrafts(results.head, write.announce ?? [], context);
    return {
      runId: run.runId,
      leaseId: run.leaseId,
      epoch: run.epoch,
      head,
      results:
        write.results === undefined
          ? null
          : {
              entries: results.entries,
              contents: write.contents?.results ?? [],
              settlements: write.settlements ?? [],
              notes: write.notes ?? 0,
              progress: write.progress ?? false,
            },
      announcement:
        write.announce === undefined
          ? null
          : {
              entries: announced.entries,
              contents: write.contents?.announcement ?? [],
              hold:
                write.hold === undefined
                  ? null
                  : {
                      id: write.hold.id,
                      amount_nano: write.hold.amount,
                      day: write.hold.day,
                      price_version: 'p1',
                    },
              after: write.after ?? { type: 'go' },
            },
    };
  };
  const send = async (commit: Commit): Promise<CommitReply> => {
    const reply = await commitRun(partition, commit);
    head = reply.head;
    return reply;
  };
  return {
    run,
    get head() {
      return head;
    },
    build,
    send,
    write: (write) => send(build(write)),
  };
};

export interface ClaimOptions {
  readonly wakeSeq?: number | null;
  readonly leaseId?: string;
  readonly leaseMs?: number;
}

/** Claims a run that can be claimed and gives its owner; throws when it cannot. */
export const claim = async (
  partition: Partition,
  runId: string,
  { wakeSeq = null, leaseId, leaseMs }: ClaimOptions = {},
): Promise<Owner> => {
  const outcome = await claimRun(partition, {
    runId,
    wakeSeq,
    leaseId: leaseId ?? (await lease(partition)),
    token: randomUUID(),
    ...(leaseMs === undefined ? {} : { leaseMs }),
  });
  if (outcome.type !== 'claimed') throw new Error(`run ${runId}: ${JSON.stringify(outcome)}`);
  const { run } = outcome;
  const last = run.entries.at(-1) ?? '';
  return ownerOf(partition, run, { seq: run.entries.length, hash: last.slice(0, 64) });
};

/** A submitted and claimed run. */
export const running = async (
  partition: Partition,
  overrides: Partial<Submission> = {},
  leaseId?: string,
): Promise<Owner> => {
  const { runId } = await submit(partition, overrides);
  return claim(partition, runId, leaseId === undefined ? {} : { leaseId });
};

export const settle = (holdId: string, observedNano: number, expired = false): CommitSettlement => ({
  holdId,
  observedNano,
  expired,
});

export const leaderOn = (partition: Partition, token: string): Leadership => {
  const logger = createLogger({ service: 'test', level: 'silent' });
  return new Leadership({ partition, role: 'scheduler', clock: systemClock, logger, token, leaseMs: 60_000 });
};

/** Whether an error is the one that a test expects. */
export const code =
  (expected: string) =>
  (error: unknown): error is SignalboxError =>
    error instanceof SignalboxError && error.code === expected;

/** Refused since what this Redis holds is not verified. */
export const untrusted = (error: unknown): boolean => code('state_untrusted')(error) && error.retryable;

/** An id that no server has. */
export const NOBODY = '0'.repeat(40);

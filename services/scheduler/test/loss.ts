/**
 * A Redis that loses, for the tests of verification: a server of its own that is emptied, restarted, cut or
 * replaced by an older copy, beside a database that has stored the audit stream up to some point.
 */
import { randomUUID } from 'node:crypto';
import { cp, readdir, rm, stat, truncate } from 'node:fs/promises';
import { join } from 'node:path';
import { createPool, type Db, ensureTenantWithCaps, writeBatch } from '@signalbox/audit-store';
import { type AuditRecord, type EventDraft, newId, SignalboxError } from '@signalbox/contracts';
import { appendDrafts, EMPTY_HEAD } from '@signalbox/engine';
import { type LocalRedis, startRedis, temporaryDir, waitFor } from '@signalbox/local';
import {
  acknowledge,
  type CommitReply,
  createAuditReader,
  ensureGroup,
  openPartition,
  type Partition,
  readTrust,
  replaceCaps,
} from '@signalbox/run-state';
import { systemClock } from '@signalbox/runtime';
import { completed, requested, submitted } from '../../../packages/audit-store/test/journal.ts';
import { record } from '../../../packages/run-state/test/inspect.ts';
import {
  claim,
  lease,
  openRedis,
  type Owner,
  settle,
  submit,
} from '../../../packages/run-state/test/support.ts';
import { type Verified, verifyRunState } from '../src/trust/verification.ts';
import { atEnd, freshDatabase, recordingLogger, type Recorded } from './support.ts';

export const TENANT = 'acme';
/** Whom nothing that befalls the keys of the first may stop. */
export const OTHER = 'other';
export const TODAY = new Date().toISOString().slice(0, 10);
export const LATER = new Date(Date.now() + 3_600_000).toISOString();
const TS = new Date().toISOString();
const CAP = 1_000_000;
/** Longer than any run of these tests is parked, by the old times in their journals. */
const NEVER_MS = 10 * 365 * 86_400_000;

export interface Loss extends Recorded {
  readonly redis: LocalRedis;
  readonly dir: string;
  readonly partition: Partition;
  readonly db: Db;
  readonly verify: (db?: Db, partition?: Partition) => Promise<Verified | null>;
}

const addTenant = async ({ partition, db }: Pick<Loss, 'partition' | 'db'>, id: string): Promise<void> => {
  const caps = { runNano: CAP, userDailyNano: CAP, tenantDailyNano: CAP };
  await ensureTenantWithCaps(db, { id, partition: 0, timeZone: 'UTC', defaults: caps });
  await replaceCaps(partition, id, { ...caps, users: [] });
};

let server: Promise<{ redis: LocalRedis; dir: string }> | undefined;

/** One server per test file; each test has a namespace of its own. */
const sharedServer = async (): Promise<{ redis: LocalRedis; dir: string }> => {
  const dir = join(await temporaryDir(), 'redis');
  const redis = await startRedis({ dir, fsync: 'no' });
  atEnd(() => redis.stop());
  return { redis, dir };
};

export const openDb = (databaseUrl: string): Db => {
  const db = createPool({ databaseUrl, role: 'scheduler', onError: () => undefined });
  atEnd(() => db.destroy());
  return db;
};

/** A verified partition with caps, and an empty database that knows its tenant. */
export const openLoss = async (
  databaseUrl?: string,
  { hibernateAfterMs = NEVER_MS }: { hibernateAfterMs?: number } = {},
): Promise<Loss> => {
  const { redis, dir } = await (server ??= sharedServer());
  const db = openDb(databaseUrl ?? (await freshDatabase()));
  const partition = openPartition(await openRedis('state', redis.url), { namespace: `loss-${randomUUID()}` });
  for (const id of [TENANT, OTHER]) await addTenant({ partition, db }, id);
  const recorded = recordingLogger();
  const verify = (otherDb: Db = db, other: Partition = partition) =>
    verifyRunState({
      partition: other,
      db: otherDb,
      clock: systemClock,
      logger: recorded.logger,
      hibernateAfterMs,
    });
  await verify();
  return { ...recorded, redis, dir, partition, db, verify };
};

export const isTrusted = async ({ partition }: Loss): Promise<boolean> =>
  (await readTrust(partition)) !== null;

export const untrusted = (error: unknown): boolean =>
  error instanceof SignalboxError && error.code === 'state_untrusted';

export const statusOf = async ({ partition }: Loss, runId: string) =>
  (await record(partition, runId))['status'];

/** Submits a run of user u1 whose journal says what its record says. */
export const submitRun = async (
  { partition }: Loss,
  {
    runAt = null,
    userId = 'u1',
    tenantId = TENANT,
    ts = TS,
  }: { runAt?: string | null; userId?: string | null; tenantId?: string; ts?: string } = {},
): Promise<string> => {
  const runId = newId('run');
  const draft = submitted({ tenant_id: tenantId, run_at: runAt, cap_nano: CAP, user_id: userId });
  const actor = { type: 'user', id: 'key_1' } as const;
  const { entries } = appendDrafts(EMPTY_HEAD, [{ ...draft, refs: {} }], { runId, epoch: 0, ts, actor });
  const dueMs = runAt === null ? null : Date.parse(runAt);
  await submit(partition, { runId, tenantId, userId, capNano: CAP, dueMs, entries });
  return runId;
};

export const claimed = (wakeSeq: number, resumed = false): EventDraft => ({
  type: 'run.claimed',
  data: { worker: 'w', wake_seq: wakeSeq, resumed },
});

/** Claims a run and says so in the journal. */
export const own = async ({ partition }: Loss, runId: string, leaseId?: string): Promise<Owner> => {
  const owner = await claim(partition, runId, { leaseId: leaseId ?? (await lease(partition, 1)) });
  await owner.write({ results: [claimed(owner.run.wakeSeq)], notes: owner.run.notes.length });
  return owner;
};

/** Announces a call and takes its hold. */
export const call = (owner: Owner, step: number, nano: number): Promise<CommitReply> => {
  const { runId } = owner.run;
  const hold = { id: `${runId}:${step}:1`, amount: nano, day: TODAY };
  return owner.write({ announce: [requested({ runId, step, nano, day: TODAY })], hold });
};

/** Its answer, and what it cost. */
export const answer = (owner: Owner, step: number, nano: number): Promise<CommitReply> => {
  const { runId } = owner.run;
  const output = { ...completed({ runId, step, nano }), refs: {} };
  return owner.write({
    results: [output],
    settlements: [settle(`${runId}:${step}:1`, nano)],
    progress: true,
  });
};

export const finish = (owner: Owner, steps: number): Promise<CommitReply> =>
  owner.write({
    announce: [{ type: 'run.succeeded', data: { steps } }],
    after: { type: 'finish', status: 'succeeded' },
  });

export const park = (owner: Owner, reason: 'timer' | 'capacity', need = 0) =>
  owner.write({
    announce: [{ type: 'run.parked', data: { reason, until: reason === 'timer' ? LATER : null } }],
    after: {
      type: 'park',
      reason,
      wakeSeq: owner.run.wakeSeq,
      dueMs: Date.parse(LATER),
      capacity: reason === 'timer' ? null : { scope: 'tenant_day', needNano: need, day: TODAY },
    },
  });

/** One run in every state there is. */
export const everyState = async (loss: Loss) => {
  const ended = await own(loss, await submitRun(loss));
  await call(ended, 1, 100);
  await answer(ended, 1, 40);
  await finish(ended, 1);
  const running = await own(loss, await submitRun(loss));
  await call(running, 1, 500);
  const between = await own(loss, await submitRun(loss));
  await call(between, 1, 100);
  await answer(between, 1, 60);
  const timer = await own(loss, await submitRun(loss));
  await park(timer, 'timer');
  const capacity = await own(loss, await submitRun(loss));
  await park(capacity, 'capacity', 999_900);
  return {
    ended,
    running,
    between,
    timer: timer.run.runId,
    capacity: capacity.run.runId,
    queued: await submitRun(loss),
    delayed: await submitRun(loss, { runAt: LATER }),
    nobodys: await submitRun(loss, { userId: null }),
  };
};

/** The owner after a loss: charges what the one before left open, and ends the run. */
export const finishOff = async (loss: Loss, runId: string, open: readonly [step: number, nano: number][]) => {
  const owner = await own(loss, runId);
  for (const [step, nano] of open) {
    const settlement = { hold_id: `${runId}:${step}:1`, observed_nano: nano, estimated: true };
    await owner.write({
      results: [
        {
          type: 'cost.expired',
          data: { step, attempt: 1, model: 'openai/gpt-4o-mini', settlement },
        },
      ],
      settlements: [settle(`${runId}:${step}:1`, nano, true)],
    });
  }
  return { owner, reply: await finish(owner, open.length) };
};

/** The audit-writer: stores the stream, or its oldest `most` commits; `change` is what befalls them on the way. */
export const store = async (
  { partition, db }: Loss,
  most = 10_000,
  change: (record: AuditRecord) => AuditRecord = (record) => record,
): Promise<number> => {
  await ensureGroup(partition);
  const reader = createAuditReader(partition, partition.redis, 'writer');
  const trust = await readTrust(partition);
  const pending = await reader.reclaim(most);
  const fresh = pending.length < most ? await reader.read(most - pending.length, 1) : [];
  const records = [...pending, ...fresh];
  const { batches } = await writeBatch(db, records.map(change), {
    partition: 0,
    incarnation: trust?.incarnation ?? -1,
    batches: trust?.batches ?? 0,
  });
  await acknowledge(
    partition,
    records.map(({ streamId }) => streamId),
    batches,
  );
  return records.length;
};

/** Gives a stored run so much of sealed content that no other is read beside it. */
export const enlarge = async ({ db }: Loss, runId: string): Promise<void> => {
  const content = { run_id: runId, ref: 'sha256:large', sealed: Buffer.alloc(5_000_000) };
  await db.insertInto('contents').values(content).execute();
};

export const flush = async ({ partition }: Loss): Promise<void> => {
  await partition.redis.flushall();
};

const APPEND_ONLY = 'appendonlydir';

/** What a backup of the server's disk would hold now. */
export const backUp = async ({ dir }: Loss): Promise<string> => {
  const copy = join(await temporaryDir(), APPEND_ONLY);
  await cp(join(dir, APPEND_ONLY), copy, { recursive: true });
  return copy;
};

const reconnected = (loss: Loss): Promise<true> =>
  waitFor(
    async () => ((await loss.partition.redis.ping().catch(() => undefined)) === undefined ? undefined : true),
    { what: 'the connection to Redis', timeoutMs: 60_000 },
  );

/** Kills the server and starts it on the same data, or on an older copy. */
export const restart = async (loss: Loss, from?: string): Promise<void> => {
  await loss.redis.kill();
  if (from !== undefined) {
    await rm(join(loss.dir, APPEND_ONLY), { recursive: true });
    await cp(from, join(loss.dir, APPEND_ONLY), { recursive: true });
  }
  await loss.redis.start();
  await reconnected(loss);
};

/** Where the append-only file ends. */
export const appendOnlyEnd = async ({ dir }: Loss): Promise<{ file: string; bytes: number }> => {
  const names = await readdir(join(dir, APPEND_ONLY));
  const file = join(dir, APPEND_ONLY, names.find((name) => name.endsWith('.incr.aof')) ?? '');
  return { file, bytes: (await stat(file)).size };
};

/** As after a power failure: the file ends in the middle of a command. */
export const restartCutAt = async (loss: Loss, { file, bytes }: { file: string; bytes: number }) => {
  await loss.redis.kill();
  await truncate(file, bytes);
  await loss.redis.start();
  await reconnected(loss);
};

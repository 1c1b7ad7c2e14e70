/**
 * Audit-writers as processes, on a Redis and a Postgres of their own, and paid journals for them to store. No other
 * service runs: the test is what submits, works and verifies, so it alone decides how much is under way.
 */
import { join } from 'node:path';
import { createPool, type Db, migrate } from '@signalbox/audit-store';
import type { AuditRecord, EventDraft } from '@signalbox/contracts';
import {
  createDatabase,
  type LocalPostgres,
  startPostgres,
  startRedis,
  temporaryDir,
  waitFor,
} from '@signalbox/local';
import {
  connect,
  disconnect,
  ensureGroup,
  openPartition,
  type Partition,
  setTenantCaps,
} from '@signalbox/run-state';
import { claimed, completed, DAY, requested, succeeded } from '../../packages/run-state/test/drafts.ts';
import { claim, lease, settle, submit, TENANT, trust } from '../../packages/run-state/test/support.ts';
import { type ServiceProcess, startMain } from '../support/service-main.ts';

/** The shortest there is: a silent leader is replaced after one second. */
const LEASE_SECONDS = '3';
const quiet = { onError: () => undefined };
/** A test that looks on waits for its turn, however busy the machine is. */
const PATIENCE_MS = 60_000;

export interface AuditWorld {
  readonly partition: Partition;
  readonly postgres: LocalPostgres;
  readonly db: Db;
  /** All that were ever started, in order. */
  readonly writers: readonly ServiceProcess[];
  startWriter(): Promise<ServiceProcess>;
  stop(): Promise<void>;
}

export const startAuditWorld = async (): Promise<AuditWorld> => {
  const dir = await temporaryDir();
  const [redis, postgres] = await Promise.all([
    startRedis({ dir: join(dir, 'redis') }),
    startPostgres({ dir: join(dir, 'postgres') }),
  ]);
  const databaseUrl = await createDatabase(postgres.url, 'audit');
  await migrate(databaseUrl);
  const connection = connect(redis.url, 'state', quiet);
  const partition = openPartition(connection);
  const uncapped = { runNano: null, userDailyNano: null, tenantDailyNano: null, timeZone: 'UTC' };
  await setTenantCaps(partition, TENANT, uncapped);
  await trust(partition);
  await ensureGroup(partition);
  const db = createPool({ databaseUrl, role: 'scheduler', connectTimeoutMs: PATIENCE_MS, ...quiet });
  const writers: ServiceProcess[] = [];
  const env = { REDIS_URL: redis.url, DATABASE_URL: databaseUrl, LEASE_SECONDS, LOG_LEVEL: 'debug' };
  return {
    partition,
    postgres,
    db,
    writers,
    startWriter: async () => {
      const writer = await startMain('audit-writer', env);
      writers.push(writer);
      // Before it listens, a SIGTERM ends it like any program.
      await writer.get('/healthz');
      return writer;
    },
    stop: async () => {
      await Promise.all(writers.map((writer) => writer.kill()));
      await db.destroy();
      await disconnect(connection);
      await postgres.stop('immediate');
      await redis.stop();
    },
  };
};

const holdOf = (runId: string, step: number) => {
  const [id, amount] = [`${runId}:${step}:1`, 5_000_000];
  return {
    draft: requested(step, { id, amount_nano: amount, day: DAY, price_version: 'p1' }),
    hold: { id, amount, day: DAY },
    nano: 1_000 + step,
  };
};

const answered = (step: number, id: string, nano: number): EventDraft => {
  const draft = completed(step);
  if (draft.type !== 'llm.completed') return draft;
  return {
    ...draft,
    data: { ...draft.data, settlement: { hold_id: id, observed_nano: nano, estimated: false } },
  };
};

/** A run of `steps` paid calls, from its submission to its end: 3 + 2 x steps events in 2 + steps commits. */
const runOf = async (partition: Partition, leaseId: string, n: number, steps: number): Promise<string> => {
  const { runId } = await submit(partition, { userId: `user-${n % 7}` });
  const owner = await claim(partition, runId, { leaseId });
  let results: readonly EventDraft[] = [claimed()];
  let settlements: readonly ReturnType<typeof settle>[] = [];
  for (let step = 1; step <= steps; step += 1) {
    const { draft, hold, nano } = holdOf(runId, step);
    await owner.write({ results, settlements, announce: [draft], hold });
    results = [answered(step, hold.id, nano)];
    settlements = [settle(hold.id, nano)];
  }
  const after = { type: 'finish', status: 'succeeded' } as const;
  await owner.write({ results, settlements, announce: [succeeded()], after });
  return runId;
};

const LANES = 16;
/** One long run for five short ones: 25 + 5 x 5 events. */
const MIX = [11, 1, 1, 1, 1, 1] as const;
export const EVENTS_PER_MIX = 50;

/** Writes `events` events (a multiple of 50) of whole runs, many runs at a time. */
export const load = async ({ partition }: AuditWorld, events: number): Promise<void> => {
  const leaseId = await lease(partition);
  const left = Array.from({ length: events / EVENTS_PER_MIX }, () => MIX).flat();
  const lane = async (): Promise<void> => {
    for (let steps = left.pop(); steps !== undefined; steps = left.pop()) {
      await runOf(partition, leaseId, left.length, steps);
    }
  };
  await Promise.all(Array.from({ length: LANES }, lane));
};

/** Puts a commit into the stream as no script would: what a damaged Redis or a stranger may leave there. */
export const inject = async ({ partition }: AuditWorld, record: AuditRecord): Promise<void> => {
  const { runId, tenantId, rootRunId, entries } = record;
  const fields = ['r', runId, 't', tenantId, 'u', '', 'a', '', 'o', rootRunId];
  await partition.redis.xadd(
    `${partition.root}:audit`,
    '*',
    ...fields,
    ...entries.flatMap((entry) => ['e', entry]),
  );
};

/** Commits that were delivered to a writer and not acknowledged. */
export const pending = async ({ partition: { redis, root } }: AuditWorld): Promise<number> => {
  const [count] = (await redis.xpending(`${root}:audit`, 'audit-writer')) as [number];
  return count;
};

export const isDrained = async ({ partition: { redis, root } }: AuditWorld): Promise<boolean> =>
  (await redis.xlen(`${root}:audit`)) === 0;

/** The writer that leads now, by its process id in the token. */
const leader = async ({ partition, writers }: AuditWorld): Promise<ServiceProcess | undefined> => {
  const token = await partition.redis.get(`${partition.root}:leader:audit-writer`);
  return writers.find((writer) => writer.exit() === undefined && token?.includes(`-${writer.pid}-`) === true);
};

/** Waits for a writer to lead that is not `but`. */
export const leaderBut = (world: AuditWorld, but?: ServiceProcess): Promise<ServiceProcess> =>
  waitFor(
    async () => {
      const found = await leader(world);
      return found === but ? undefined : found;
    },
    { what: 'an audit-writer to lead', timeoutMs: 60_000 },
  );

/** What the writers logged with this message. */
export const logged = ({ writers }: AuditWorld, msg: string): Record<string, unknown>[] =>
  writers.flatMap((writer) => writer.lines().filter((line) => line['msg'] === msg));

export const totalOf = (lines: readonly Record<string, unknown>[], field: string): number =>
  lines.reduce((sum, line) => sum + Number(line[field] ?? 0), 0);

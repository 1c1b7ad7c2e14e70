/** What the tests of the audit-writer need: a partition and a database of their own, and runs to move. */
import { randomBytes } from 'node:crypto';
import { after } from 'node:test';
import { createPool, type Db, migrate, writeBatch } from '@signalbox/audit-store';
import { migratedTestDatabase, until } from '@signalbox/local';
import { createAuditReader, Leadership, type Partition } from '@signalbox/run-state';
import { type Clock, createLogger, createMetrics, type Metrics, systemClock } from '@signalbox/runtime';
import { completed, requested, succeeded } from '../../../packages/run-state/test/drafts.ts';
import { claim, freshPartition, openRedis, submit } from '../../../packages/run-state/test/support.ts';
import { Relay, type RelayDeps, type RelayOptions } from '../src/relay.ts';
import { createRelayMetrics } from '../src/metrics.ts';

const cleanups: (() => Promise<unknown>)[] = [];
after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup();
});

/** URL of a new database with the newest schema. */
export const freshDatabase = async (): Promise<string> => {
  const name = `audit_writer_${randomBytes(6).toString('hex')}`;
  return migratedTestDatabase(name, migrate);
};

/** A pool that is closed after the tests of this file. */
export const openPool = (databaseUrl: string): Db => {
  const db = createPool({ databaseUrl, role: 'writer' });
  cleanups.push(() => db.destroy());
  return db;
};

/** Submits a run and brings it to its end: four commits, five events. */
export const endedRun = async (partition: Partition): Promise<string> => {
  const { runId } = await submit(partition);
  const owner = await claim(partition, runId);
  await owner.write({ announce: [requested(1)] });
  await owner.write({ results: [completed(1)] });
  await owner.write({ announce: [succeeded()], after: { type: 'finish', status: 'succeeded' } });
  return runId;
};

export const EVENTS_PER_RUN = 4;

export const endedRuns = (partition: Partition, count: number): Promise<string[]> =>
  Promise.all(Array.from({ length: count }, () => endedRun(partition)));

export interface Bench {
  readonly partition: Partition;
  readonly databaseUrl: string;
  readonly db: Db;
}

export const openBench = async (): Promise<Bench> => {
  const databaseUrl = await freshDatabase();
  return { partition: await freshPartition(), databaseUrl, db: openPool(databaseUrl) };
};

export interface RunningRelay {
  readonly relay: Relay;
  readonly leadership: Leadership;
  readonly metrics: Metrics;
  readonly log: Record<string, unknown>[];
  /** Resolves when the relay has ended and the lead is given back. */
  readonly stop: () => Promise<void>;
}

export interface StartOptions extends Partial<RelayOptions> {
  readonly deps?: Partial<RelayDeps>;
  readonly consumer?: string;
  /** How long the others wait for it when it is silent. */
  readonly leaseMs?: number;
  /** One that stands still makes it hold a lead that it never renews for its own: a frozen process. */
  readonly leadClock?: Clock;
}

/** A relay of its own consumer; stopped after the tests of this file at the latest. */
export const startRelay = async (
  { partition, db }: Bench,
  { deps = {}, leadClock = systemClock, leaseMs = 1000, ...more }: StartOptions = {},
): Promise<RunningRelay> => {
  const { consumer = `c-${randomBytes(4).toString('hex')}`, ...options } = more;
  const log: Record<string, unknown>[] = [];
  const metrics = createMetrics({ prefix: 'signalbox_' });
  const logger = createLogger({
    service: 'test',
    level: 'debug',
    destination: { write: (line) => void log.push(JSON.parse(line) as Record<string, unknown>) },
  });
  const leadership = new Leadership({
    partition,
    role: 'audit-writer',
    clock: leadClock,
    logger,
    token: consumer,
    leaseMs,
  });
  const relay = new Relay(
    {
      partition,
      leadership,
      reader: createAuditReader(partition, await openRedis('stream'), consumer),
      store: (records) => writeBatch(db, records),
      check: () => Promise.resolve(),
      clock: systemClock,
      logger,
      metrics: createRelayMetrics(metrics),
      heart: { beat: () => undefined },
      random: Math.random,
      ...deps,
    },
    { keepSeconds: 3600, blockMs: 50, gatherMs: 10, ...options },
  );
  const stopping = new AbortController();
  const running = relay.run(stopping.signal);
  const end = (): Promise<void> => {
    stopping.abort();
    return running;
  };
  cleanups.push(end);
  const stop = async (): Promise<void> => {
    await end();
    await leadership.release();
  };
  return { relay, leadership, metrics, log, stop };
};

export const streamLength = ({ redis, root }: Partition): Promise<number> => redis.xlen(`${root}:audit`);

export const drained = (partition: Partition): Promise<true> =>
  until('the audit stream to be empty', async () => (await streamLength(partition)) === 0);

/** Everything the batch writes, in one comparable value. */
export const stored = async (db: Db): Promise<{ events: number; runs: unknown[]; quarantined: number }> => {
  const [events, runs, quarantined] = await Promise.all([
    db.selectFrom('audit_events').select(['run_id', 'seq', 'hash']).execute(),
    db.selectFrom('runs').select(['id', 'status', 'last_seq', 'steps']).orderBy('id').execute(),
    db.selectFrom('audit_quarantine').select('id').execute(),
  ]);
  return { events: events.length, runs, quarantined: quarantined.length };
};

/** Value of a metric without labels. */
export const metricOf = async (metrics: Metrics, name: string): Promise<number> => {
  const line = (await metrics.render()).split('\n').find((text) => text.startsWith(`signalbox_${name} `));
  return Number(line?.split(' ')[1]);
};

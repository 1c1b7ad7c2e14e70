/** What the tests of the scheduler need: loops and leaders on a partition of their own. */
import { randomBytes, randomUUID } from 'node:crypto';
import { after } from 'node:test';
import {
  abortOwnerless,
  type Activation,
  Leadership,
  openActivationQueue,
  type Partition,
} from '@signalbox/run-state';
import {
  type Clock,
  createLogger,
  createMetrics,
  type Logger,
  type Metrics,
  systemClock,
  Trouble,
} from '@signalbox/runtime';
import { type Db, migrate, writeBatch } from '@signalbox/audit-store';
import { migratedTestDatabase } from '@signalbox/local';
import { journalOf, recordOf, submitted, succeeded } from '../../../packages/audit-store/test/journal.ts';
import { openRedis } from '../../../packages/run-state/test/support.ts';
import { runLoop } from '../src/repair/loop.ts';
import { createAbortMetrics, createRepairMetrics } from '../src/metrics.ts';
import type { TickDeps } from '../src/repair/tick.ts';

const cleanups: (() => Promise<unknown>)[] = [];
export const atEnd = (cleanup: () => Promise<unknown>): void => void cleanups.push(cleanup);
after(async () => {
  for (const cleanup of cleanups.toReversed()) await cleanup();
});

/** The URL of an empty database with today's schema. */
export const freshDatabase = async (): Promise<string> => {
  const name = `scheduler_${randomBytes(6).toString('hex')}`;
  return migratedTestDatabase(name, migrate);
};

export interface Recorded {
  readonly logger: Logger;
  readonly log: Record<string, unknown>[];
}

export const recordingLogger = (): Recorded => {
  const log: Record<string, unknown>[] = [];
  const write = (line: string): void => void log.push(JSON.parse(line) as Record<string, unknown>);
  return { logger: createLogger({ service: 'test', level: 'debug', destination: { write } }), log };
};

export interface TickBench extends TickDeps, Recorded {
  readonly registry: Metrics;
  /** What went into BullMQ, in order. */
  readonly added: Activation[];
}

export const tickBench = async (partition: Partition): Promise<TickBench> => {
  const queue = openActivationQueue(partition, await openRedis('queue'));
  atEnd(() => queue.close());
  const added: Activation[] = [];
  const registry = createMetrics({ prefix: 'signalbox_' });
  const shared = {
    ...recordingLogger(),
    partition,
    clock: systemClock,
    queue: {
      ...queue,
      add: async (activations: readonly Activation[]) => {
        await queue.add(activations);
        added.push(...activations);
      },
    },
  };
  const counters = createAbortMetrics(registry);
  return {
    ...shared,
    registry,
    metrics: createRepairMetrics(registry),
    endAborted: (runId) =>
      abortOwnerless({ ...shared, counters, build: 'test', service: 'scheduler' }, runId),
    added,
  };
};

const leadershipOf = (partition: Partition): Leadership =>
  new Leadership({
    partition,
    role: 'scheduler',
    clock: systemClock,
    logger: recordingLogger().logger,
    token: randomUUID(),
    leaseMs: 10_000,
  });

export interface RunningLoop extends TickBench {
  readonly leadership: Leadership;
  /** What its heart did, in order; repetitions once. */
  readonly heart: ('beat' | 'rest')[];
  /** Ends the loop, as a crash would: the lead is not given back. */
  readonly stop: () => Promise<void>;
}

export const startLoop = async (
  partition: Partition,
  verify: () => Promise<unknown> = () => Promise.resolve(),
): Promise<RunningLoop> => {
  const bench = await tickBench(partition);
  const leadership = leadershipOf(partition);
  const stopping = new AbortController();
  const did: ('beat' | 'rest')[] = [];
  const note = (what: 'beat' | 'rest') => (): void => {
    if (did.at(-1) !== what) did.push(what);
  };
  const heart = { beat: note('beat'), rest: note('rest') };
  const trouble = new Trouble();
  const deps = { ...bench, leadership, verify, heart, trouble, random: Math.random };
  const running = runLoop(deps, stopping.signal);
  const stop = (): Promise<void> => {
    stopping.abort();
    return running;
  };
  atEnd(stop);
  return { ...bench, leadership, heart: did, stop };
};

/**
 * The Redis of the tests holds the keys of many, and all are walked past: without the second's rest between two looks.
 */
export const hasty: Clock = {
  ...systemClock,
  sleep: (ms, signal) => systemClock.sleep(ms > 1000 ? ms : 1, signal),
};

/** As if the leader had been silent for its whole lease. */
export const expireLeadership = async ({ redis, root }: Partition): Promise<void> => {
  await redis.pexpire(`${root}:leader:scheduler`, 0);
};

/** The sample of a metric, labels included in the name. */
export const sampleOf = async (metrics: Metrics, name: string): Promise<number> => {
  const line = (await metrics.render()).split('\n').find((text) => text.startsWith(`signalbox_${name} `));
  return Number(line?.split(' ')[1]);
};

/** Stores runs that were made, and ended, at this instant. */
export const storeRunsAt = async (db: Db, instant: string, count: number): Promise<void> => {
  const time = Date.parse(instant);
  const records = Array.from({ length: count }, () => {
    const runId = `run_${time.toString(16).padStart(12, '0')}7${randomBytes(10).toString('hex').slice(1)}`;
    return recordOf(runId, journalOf(runId, [submitted(), succeeded(0)], time).entries);
  });
  await writeBatch(db, records);
};

export const storeRunAt = (db: Db, instant: string): Promise<void> => storeRunsAt(db, instant, 1);

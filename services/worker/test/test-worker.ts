import type { ModelPort, PricePort } from '@signalbox/contracts';
import { createModels } from '@signalbox/providers';
import { type Activation, connect, disconnect, type Partition } from '@signalbox/run-state';
import { type Clock, type Keyring, type Logger, systemClock } from '@signalbox/runtime';
import { createDays } from '../src/days.ts';
import { LeaseKeeper } from '../src/lease-keeper.ts';
import { createWorkerMetrics, type WorkerMetrics } from '../src/metrics.ts';
import { spans } from '../src/spans.ts';
import { builtInTools } from '../src/tools/index.ts';
import type { Toolbox } from '../src/tools/tool.ts';
import { RunWorker } from '../src/worker.ts';
import { until } from './harness.ts';

/** A worker in this process with a connection, a lease and metrics of its own: everything but BullMQ. */
export interface WorkerOptions {
  readonly slots?: number;
  readonly leaseMs?: number;
  /** Of the runs; the lease keeps real time. */
  readonly clock?: Clock;
  /** Where `anthropic` and `openai` are. */
  readonly provider?: { readonly anthropicBaseUrl: string; readonly openaiBaseUrl: string };
  readonly models?: ModelPort;
  readonly toolbox?: Toolbox;
  readonly prices?: PricePort;
  readonly httpAllow?: readonly string[];
  readonly providerTimeoutMs?: number;
  readonly keyring?: Keyring;
}

export interface TestWorker {
  readonly runs: RunWorker;
  readonly leases: LeaseKeeper;
  readonly metrics: WorkerMetrics;
  readonly leaseId: string;
  work(activation: Activation): Promise<void>;
  /** Lets its runs go at their next step. */
  drain(): void;
  /** As if the process were killed: nothing reaches the store any more, and the lease is not renewed. */
  die(): void;
  stop(): Promise<void>;
}

export interface WorkerWorld {
  readonly url: string;
  readonly root: Partition;
  readonly keyring: Keyring;
  readonly logger: Logger;
  readonly prices: PricePort;
  readonly onActivations: (activations: readonly Activation[]) => void;
}

const KEY = 'sk-test-0123456789abcdefghij';

export const createTestWorker = async (world: WorkerWorld, options: WorkerOptions): Promise<TestWorker> => {
  const {
    slots = 100,
    leaseMs = 30_000,
    clock = systemClock,
    provider,
    providerTimeoutMs = 10_000,
  } = options;
  const redis = connect(world.url, 'state', { onError: () => undefined });
  const partition: Partition = { ...world.root, redis };
  const { logger } = world;
  let draining = false;
  let dead = false;
  const onActivations = (activations: readonly Activation[]): void => {
    if (!dead) world.onActivations(activations);
  };
  const leases = new LeaseKeeper({ partition, clock: systemClock, logger, leaseMs, onActivations }, slots);
  const stopping = new AbortController();
  const metrics = createWorkerMetrics();
  const runs = new RunWorker({
    partition,
    leases,
    keyring: options.keyring ?? world.keyring,
    models:
      options.models ??
      createModels({
        clock: systemClock,
        timeoutMs: providerTimeoutMs,
        keys: { anthropic: KEY, openai: KEY },
        ...(provider === undefined
          ? {}
          : { baseUrls: { anthropic: provider.anthropicBaseUrl, openai: provider.openaiBaseUrl } }),
      }),
    prices: options.prices ?? world.prices,
    toolbox: options.toolbox ?? builtInTools({ allow: options.httpAllow ?? [], fetch }),
    days: createDays(partition, clock),
    clock,
    logger,
    metrics,
    spans,
    onActivations,
    stopping: stopping.signal,
    draining: () => draining,
  });
  leases.start();
  await until('the worker has a lease', () => leases.current() !== null);
  return {
    runs,
    leases,
    metrics,
    leaseId: leases.current()?.leaseId ?? '',
    work: (activation) => runs.work(activation),
    drain: () => {
      draining = true;
    },
    die: () => {
      dead = true;
      redis.disconnect();
    },
    stop: async () => {
      stopping.abort();
      await leases.close().catch(() => undefined);
      await disconnect(redis);
    },
  };
};

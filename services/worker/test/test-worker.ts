import { until } from '@signalbox/local';
import type { ModelPort, PricePort } from '@signalbox/contracts';
import { createKeyVault, createModels, type KeyVault } from '@signalbox/providers';
import {
  type Activation,
  type ActivationEnd,
  connect,
  disconnect,
  findProviderKeys,
  type Partition,
} from '@signalbox/run-state';
import { type Clock, createJsonSchemas, type Keyring, type Logger, systemClock } from '@signalbox/runtime';
import { createDays } from '../src/run/days.ts';
import { FailedOpens } from '../src/intake/failed-opens.ts';
import { LeaseKeeper } from '../src/lease/lease-keeper.ts';
import { createWorkerMetrics, type WorkerMetrics } from '../src/metrics.ts';
import { HeldSecrets, redactorsOf } from '@signalbox/engine';
import { spansTo } from '../src/spans.ts';
import { builtInTools } from '../src/tools/index.ts';
import type { Toolbox } from '../src/tools/tool.ts';
import { RunWorker } from '../src/worker.ts';

/** A worker in this process with a connection, a lease and metrics of its own: everything but BullMQ. */
export interface WorkerOptions {
  readonly slots?: number;
  readonly leaseMs?: number;
  /** Of the runs; the lease keeps real time. */
  readonly clock?: Clock;
  /** Where `anthropic` and `openai` are. */
  readonly provider?: { readonly anthropicBaseUrl: string; readonly openaiBaseUrl: string };
  readonly models?: ModelPort;
  readonly keysOf?: KeyVault['keysOf'];
  readonly toolbox?: Toolbox;
  readonly prices?: PricePort;
  readonly httpAllow?: readonly string[];
  readonly providerTimeoutMs?: number;
  readonly keyring?: Keyring;
  readonly timeSliceMs?: number;
}

export interface TestWorker {
  readonly runs: RunWorker;
  readonly leases: LeaseKeeper;
  readonly metrics: WorkerMetrics;
  readonly opens: FailedOpens;
  readonly leaseId: string;
  /** False once it died. */
  isAlive(): boolean;
  work(activation: Activation): Promise<ActivationEnd>;
  /** Lets its runs go at their next step. */
  drain(): void;
  /** The time for that is over. */
  cut(): void;
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

/** Of all workers of a test. */
const schemas = createJsonSchemas();

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
  let dead = false;
  const onActivations = (activations: readonly Activation[]): void => {
    if (!dead) world.onActivations(activations);
  };
  const leases = new LeaseKeeper(
    { partition, clock: systemClock, logger, leaseMs, heart: { beat: () => undefined }, onActivations },
    slots,
  );
  const secrets = new HeldSecrets([KEY]);
  const keyring = options.keyring ?? world.keyring;
  const vault = createKeyVault({
    keyring,
    clock: systemClock,
    secrets,
    keys: { anthropic: KEY, openai: KEY },
    find: (tenantId) => findProviderKeys(partition, tenantId),
  });
  const stopping = new AbortController();
  const cut = new AbortController();
  const metrics = createWorkerMetrics();
  const opens = new FailedOpens(() => undefined);
  const runs = new RunWorker({
    partition,
    leases,
    keyring,
    opens,
    models:
      options.models ??
      createModels({
        clock: systemClock,
        timeoutMs: providerTimeoutMs,
        ...(provider === undefined
          ? {}
          : { baseUrls: { anthropic: provider.anthropicBaseUrl, openai: provider.openaiBaseUrl } }),
      }),
    vault: options.keysOf === undefined ? vault : { ...vault, keysOf: options.keysOf },
    prices: options.prices ?? world.prices,
    toolbox: options.toolbox ?? builtInTools({ allow: options.httpAllow ?? [] }),
    schemas,
    days: createDays(partition, clock),
    clock,
    build: 'test',
    logger,
    metrics,
    spans: spansTo(undefined),
    redactorOf: redactorsOf({ secrets, digest: keyring.digest }),
    onActivations,
    stopping: stopping.signal,
    cut: cut.signal,
    timeSliceMs: options.timeSliceMs ?? 600_000,
  });
  leases.start();
  await until('the worker has a lease', () => leases.current() !== null);
  return {
    runs,
    leases,
    metrics,
    opens,
    leaseId: leases.current()?.leaseId ?? '',
    isAlive: () => !dead,
    work: (activation) => runs.work(activation),
    drain: () => stopping.abort(),
    cut: () => cut.abort(),
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

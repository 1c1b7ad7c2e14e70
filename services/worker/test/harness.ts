import { randomBytes, randomUUID } from 'node:crypto';
import { after } from 'node:test';
import {
  AgentSpec,
  type AnswerContent,
  type Event,
  newId,
  type RunInput,
  type RunLimits,
  type ToolResultContent,
} from '@signalbox/contracts';
import {
  appendDrafts,
  chainBreak,
  EMPTY_HEAD,
  fold,
  readEntry,
  type RunState,
  specText,
} from '@signalbox/engine';
import { testRedisUrl } from '@signalbox/local';
import { createPrices, type PricesOptions } from '@signalbox/providers';
import {
  type Activation,
  connect,
  disconnect,
  foundContent,
  markTrusted,
  openContent,
  openPartition,
  type Partition,
  readRun,
  readServerId,
  repair,
  runKey,
  sealContent,
  setTenantCaps,
  submitRun,
  type TenantCapsStart,
} from '@signalbox/run-state';
import {
  createKeyring,
  createLogger,
  digest,
  type Keyring,
  newDataKey,
  systemClock,
} from '@signalbox/runtime';
import { createTestWorker, type TestWorker, type WorkerOptions } from './test-worker.ts';

/** A namespace of its own on a real Redis, with runs submitted the way the api does it. */
export const TENANT = 'acme';
export const KEYS = [{ id: 'k1', key: randomBytes(32) }];

export const NO_CAPS: TenantCapsStart = {
  runNano: null,
  userDailyNano: null,
  tenantDailyNano: null,
  timeZone: 'UTC',
};

/** What the scheduler does once it has verified the server's data. */
export const trust = async (partition: Partition): Promise<void> =>
  markTrusted(partition, { ...(await readServerId(partition)), incarnation: 0 });

export interface SubmitOptions {
  readonly input?: RunInput;
  readonly spec?: Partial<AgentSpec>;
  readonly limits?: Partial<RunLimits>;
  readonly capNano?: number | null;
  readonly userId?: string | null;
}

/** A run as anybody can read it who has the keys. */
export interface RunSeen {
  readonly state: RunState;
  readonly events: readonly Event[];
  /** Types of the events, in order. */
  readonly types: readonly string[];
  readonly output: string | null;
  /** Null when the journal is an unbroken chain. */
  readonly broken: ReturnType<typeof chainBreak>;
  answer(ref: string): AnswerContent;
  result(ref: string): ToolResultContent;
  /** Data of all events of a type. */
  all<T extends Event['type']>(type: T): Extract<Event, { type: T }>['data'][];
}

export interface World {
  readonly url: string;
  readonly partition: Partition;
  readonly keyring: Keyring;
  /** Activations given out and not worked on yet. */
  readonly pending: Activation[];
  /** Lines the workers logged. */
  readonly logs: Record<string, unknown>[];
  submit(options?: SubmitOptions): Promise<string>;
  worker(options?: WorkerOptions): Promise<TestWorker>;
  /** Takes and works on everything that is runnable until nothing is. */
  settle(worker: TestWorker): Promise<void>;
  /** Submits one run, works until nothing is runnable, and reads it. */
  play(worker: TestWorker, options: SubmitOptions): Promise<RunSeen>;
  read(runId: string): Promise<RunSeen>;
  /** One field of the run record. */
  field(runId: string, name: string): Promise<string | null>;
  /** `spent` and `held` of the run, or of a spend key below the root. */
  money(scope: string): Promise<{ spent: number; held: number }>;
  /** What the scheduler does, at once: lost activations without grace. */
  repair(): Promise<void>;
  /** Back-dates a lease, as if its process had been silent for too long; then repairs. */
  expire(leaseId: string): Promise<void>;
  /** Makes the timer of a parked run due; then repairs. */
  due(runId: string): Promise<void>;
}

const SUBMITTER = { type: 'user', id: 'key_1' } as const;

export const openWorld = async (
  options: {
    caps?: Partial<TenantCapsStart> | null;
    url?: string;
    namespace?: string;
    prices?: PricesOptions['overrides'];
  } = {},
): Promise<World> => {
  const url = options.url ?? (await testRedisUrl());
  const redis = connect(url, 'state', { onError: () => undefined });
  const partition = openPartition(redis, { namespace: options.namespace ?? `test-${randomUUID()}` });
  const keyring = createKeyring(KEYS);
  const dataKeys = new Map<string, Buffer>();
  const pending: Activation[] = [];
  const logs: Record<string, unknown>[] = [];
  const closing: (() => Promise<unknown>)[] = [];
  after(async () => {
    await Promise.allSettled(closing.map((close) => close()));
    await disconnect(redis);
  });
  const logger = createLogger({
    service: 'test',
    level: 'debug',
    destination: { write: (line) => void logs.push(JSON.parse(line) as Record<string, unknown>) },
  });
  await trust(partition);
  if (options.caps !== null) await setTenantCaps(partition, TENANT, { ...NO_CAPS, ...options.caps });

  const enlist = (activations: readonly Activation[]): void => void pending.push(...activations);

  const submit: World['submit'] = async ({
    input = 'hello',
    spec = {},
    limits,
    capNano = null,
    userId = null,
  } = {}) => {
    const full = AgentSpec.parse({ model: 'mock/script', ...spec });
    const runId = newId('run');
    const dataKey = newDataKey();
    dataKeys.set(runId, dataKey);
    const contents = {
      submission: sealContent(dataKey, runId, { input, metadata: {} }),
      spec: sealContent(dataKey, runId, full),
    };
    const { entries } = appendDrafts(
      EMPTY_HEAD,
      [
        {
          type: 'run.submitted',
          refs: { submission: contents.submission[0], spec: contents.spec[0] },
          data: {
            tenant_id: TENANT,
            agent: { name: 'support', version: 1 },
            spec_digest: digest(dataKey, specText(full)),
            model: full.model,
            fallbacks: full.fallbacks,
            limits: { max_steps: 20, max_output_tokens: 1024, timeout_seconds: 600, ...limits },
            cap_nano: capNano,
            user_id: userId,
            session_id: null,
            parent_run_id: null,
            forked_from: null,
            priority: 'normal',
            run_at: null,
            traceparent: null,
          },
        },
      ],
      { runId, epoch: 0, ts: new Date().toISOString(), actor: SUBMITTER },
    );
    const outcome = await submitRun(
      partition,
      {
        runId,
        tenantId: TENANT,
        userId,
        agent: 'support',
        rootRunId: runId,
        priority: 'normal',
        capNano,
        wrappedKey: keyring.wrap(dataKey, runId),
        dueMs: null,
        idempotency: [],
        entries,
        contents: [contents.submission, contents.spec],
      },
      { backlogLimit: 1_000_000 },
    );
    if (outcome.type === 'created') enlist(outcome.activations);
    return runId;
  };

  const read: World['read'] = async (runId) => {
    const run = await readRun(partition, { tenantId: TENANT, runId }, 'all');
    const key = dataKeys.get(runId);
    if (run === null || key === undefined) throw new Error(`no run ${runId}`);
    const opened = (ref: string) => openContent(key, runId, [ref, foundContent(run.contents.get(ref) ?? '')]);
    const events = run.entries.map(readEntry);
    const state = fold(events);
    return {
      state,
      events,
      types: events.map(({ type }) => type),
      output: state.outputRef === null ? null : (opened(state.outputRef) as AnswerContent).text,
      broken: chainBreak(run.entries),
      answer: (ref) => opened(ref) as AnswerContent,
      result: (ref) => opened(ref) as ToolResultContent,
      // Each event pairs its type with its data.
      all: (type) => events.filter((event) => event.type === type).map(({ data }) => data) as never,
    };
  };

  const settle: World['settle'] = async (worker) => {
    // What a dead one would take nobody else had, and it would try to claim it forever.
    while (worker.isAlive() && pending.length > 0)
      await Promise.all(pending.splice(0).map((one) => worker.work(one)));
  };
  const fix: World['repair'] = async () => {
    enlist((await repair(partition, { limit: 1000, graceMs: 0 })).activations);
  };

  const world: World = {
    url,
    partition,
    keyring,
    pending,
    logs,
    submit,
    worker: async (given = {}) => {
      const worker = await createTestWorker(
        {
          url,
          root: partition,
          keyring,
          logger,
          prices: createPrices({ clock: systemClock, ...pricesOf(options) }),
          onActivations: enlist,
        },
        given,
      );
      closing.push(() => worker.stop());
      return worker;
    },
    settle,
    play: async (worker, given) => {
      const runId = await submit(given);
      await settle(worker);
      return read(runId);
    },
    read,
    field: (runId, name) => redis.hget(runKey(partition, runId), name),
    money: async (scope) => {
      const [spent, held] = await redis.hmget(`${partition.root}:${scope}`, 'spent', 'held');
      return { spent: Number(spent ?? 0), held: Number(held ?? 0) };
    },
    repair: fix,
    expire: async (leaseId) => {
      await redis.zadd(`${partition.root}:leases`, 'XX', 1, leaseId);
      await fix();
    },
    due: async (runId) => {
      await redis.zadd(`${partition.root}:timers`, 'XX', 1, runId);
      await fix();
    },
  };
  return world;
};

const pricesOf = ({ prices }: { prices?: PricesOptions['overrides'] }): object =>
  prices === undefined ? {} : { overrides: prices };

/** A conversation for `mock/script` and the fake provider. */
export const script = (...turns: readonly Record<string, unknown>[]): string => JSON.stringify({ turns });

import {
  type CostMetric,
  countUnrestored,
  createCostMetric,
  createEndMetrics,
  type Demand,
  type EndMetrics,
  type Partition,
  readDemand,
  readTrust,
} from '@signalbox/run-state';
import type { Clock, Counter, Gauge, Metrics } from '@signalbox/runtime';

/** What the leader counts (contract §4). */
export interface RepairMetrics {
  readonly timers: Counter;
  readonly requeued: Counter;
  readonly resumes: Counter<'reason'>;
}

export const createRepairMetrics = (registry: Metrics): RepairMetrics => {
  const resumes = registry.counter({
    name: 'resumes_total',
    help: 'Runs taken from a worker that was lost, to be resumed by another.',
    labels: ['reason'],
  });
  resumes.inc({ reason: 'lease_expired' }, 0);
  return {
    resumes,
    timers: registry.counter({
      name: 'timers_fired_total',
      help: 'Parked runs woken because they were due.',
    }),
    requeued: registry.counter({
      name: 'activations_requeued_total',
      help: 'Activations that reached no worker in time and were queued again.',
    }),
  };
};

/** Of aborted runs whose end the leader writes. */
export const createAbortMetrics = (registry: Metrics): EndMetrics & CostMetric => ({
  ...createEndMetrics(registry),
  ...createCostMetric(registry),
});

const STATES = ['waiting', 'prioritized', 'active', 'parked', 'delayed'] as const;

/**
 * Gauges of run state, read at each scrape. All replicas report the same values: aggregate with max.
 * What the fleet offers has names of its own: `worker_slots` and `runs_active` come from the workers, each
 * its own part, and are added up.
 */
export const exposeDemand = (
  registry: Metrics,
  { partition, clock }: { partition: Partition; clock: Clock },
): void => {
  // The gauges of one scrape share one read.
  let reading: Promise<Demand> | undefined;
  const read = (): Promise<Demand> => {
    reading ??= readDemand(partition, clock.now()).finally(() => (reading = undefined));
    return reading;
  };
  const single = (name: string, help: string, value: (demand: Demand) => number): Gauge =>
    registry.gauge({ name, help, collect: async (gauge) => gauge.set(value(await read())) });
  registry.gauge({
    name: 'queue_depth',
    help: 'Runs by what they wait for; delayed ones are also parked.',
    labels: ['state'],
    collect: async (gauge) => {
      const demand = await read();
      for (const state of STATES) gauge.set({ state }, demand[state]);
    },
  });
  single(
    'queue_oldest_waiting_seconds',
    'How long the oldest queued run waits that no concurrency cap keeps back.',
    (d) => d.oldestWaitingSeconds,
  );
  single('fleet_slots', 'Runs all workers with a live lease can work on at once.', (d) => d.slots);
  single(
    'pressure_level',
    'How far the audit backlog holds work back (R9): 0 not, 1 no new runs, 2 runs park, 3 none starts.',
    (d) => d.pressureLevel,
  );
  single('fleet_runs_active', 'Runs that have an owner.', (d) => d.active);
};

export const createReindexCounter = (registry: Metrics): Counter =>
  registry.counter({
    name: 'runs_reindexed_total',
    help: 'Runs that no index led to, since a key of Redis was lost, and that were put back.',
  });

/** What becomes of runs that wait for long. */
export interface HibernationMetrics {
  readonly hibernated: Counter;
  readonly loaded: Counter;
  readonly expired: Counter;
}

export const createHibernationMetrics = (registry: Metrics): HibernationMetrics => ({
  hibernated: registry.counter({
    name: 'runs_hibernated_total',
    help: 'Parked runs whose journal was left to Postgres alone.',
  }),
  loaded: registry.counter({
    name: 'runs_loaded_total',
    help: 'Hibernated runs that were woken and loaded back.',
  }),
  expired: registry.counter({
    name: 'waits_expired_total',
    help: 'Runs that were ended because they had waited too long.',
  }),
});

/** Runs whose contents were erased because their period was over. */
export const createRetentionCounter = (registry: Metrics): Counter =>
  registry.counter({
    name: 'retention_erased_total',
    help: 'Runs whose contents were erased because the time was over that their tenant keeps them.',
  });

export const exposeLeadership = (registry: Metrics, isLeader: () => boolean): void => {
  registry.gauge({
    name: 'scheduler_leader',
    help: 'Whether this scheduler leads (1) or waits (0).',
    collect: (gauge) => gauge.set(isLeader() ? 1 : 0),
  });
};

/** Set by who keeps the partitions; every replica does. */
export const createPartitionGauge = (registry: Metrics): Gauge =>
  registry.gauge({
    name: 'audit_default_partition_events',
    help: 'Audit events (counted up to 10,000) that had no month to go to.',
  });

/** Set each minute; every replica does. */
export const createCheckpointGauge = (registry: Metrics): Gauge =>
  registry.gauge({
    name: 'checkpoint_age_seconds',
    help: 'How long the oldest change of the audit log has been waiting for a signed checkpoint, or how long checkpoints could not be kept.',
  });

export interface TrustMetrics {
  verified(seconds: number): void;
}

/** How long everybody waited for run state to be verified, and whether they wait now (Trust). */
export const createTrustMetrics = (registry: Metrics, partition: Partition): TrustMetrics => {
  const total = registry.counter({
    name: 'trust_verifications_total',
    help: 'Verifications of run state against Postgres.',
  });
  const seconds = registry.histogram({
    name: 'trust_verification_seconds',
    help: 'Time a verification took.',
    buckets: [0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300],
  });
  registry.gauge({
    name: 'state_trusted',
    help: 'Whether run state is verified (1) or everybody waits for it (0).',
    collect: async (gauge) => gauge.set((await readTrust(partition)) === null ? 0 : 1),
  });
  registry.gauge({
    name: 'runs_not_restored',
    help: 'Runs that no verification could put back: nobody works on them, and loading them is tried again.',
    collect: async (gauge) => gauge.set(await countUnrestored(partition)),
  });
  return {
    verified: (took) => {
      total.inc();
      seconds.observe(took);
    },
  };
};

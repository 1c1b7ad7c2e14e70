import { type Demand, getTenantCaps, type Partition, readDemand, readTenantDay } from '@signalbox/run-state';
import type { Clock, Gauge, Metrics } from '@signalbox/runtime';
import { dayIn } from './tenant-day.ts';

/** The metrics of contract §4 that the api can tell. Gauges are read when they are scraped. */
export interface ApiMetrics {
  /** Null: an inline spec. */
  runSubmitted(agent: string | null): void;
  requestDone(labels: { method: string; route: string; status: number }, seconds: number): void;
  /** Tenants whose caps are watched: those who call us. */
  tenantSeen(tenantId: string): void;
}

interface MetricsDeps {
  readonly metrics: Metrics;
  readonly partition: Partition;
  readonly clock: Clock;
}

/** One read serves all gauges of a scrape. */
const SHARED_MS = 250;
const MOST_TENANTS = 1000;
const STATES = ['waiting', 'prioritized', 'active', 'parked', 'delayed'] as const;

const sharedDemand = ({ partition, clock }: MetricsDeps): (() => Promise<Demand>) => {
  let at = Number.NEGATIVE_INFINITY;
  let shared: Promise<Demand> | undefined;
  return () => {
    if (shared === undefined || clock.monotonic() - at > SHARED_MS) {
      at = clock.monotonic();
      shared = readDemand(partition, clock.now());
    }
    return shared;
  };
};

/** What is left of a tenant's day as a part of its cap; null without a cap. */
const remainingRatio = async (
  { partition, clock }: MetricsDeps,
  tenantId: string,
): Promise<number | null> => {
  const { tenantDailyNano: cap, timeZone } = await getTenantCaps(partition, tenantId);
  if (cap === null || cap === 0) return cap;
  const { spentNano, heldNano } = await readTenantDay(partition, tenantId, dayIn(timeZone, clock.now()));
  return Math.max(0, (cap - spentNano - heldNano) / cap);
};

const addDemandGauges = (metrics: Metrics, demand: () => Promise<Demand>): void => {
  const gauge = (name: string, help: string, value: (demand: Demand) => number): void => {
    metrics.gauge({ name, help, collect: async (g: Gauge) => g.set(value(await demand())) });
  };
  gauge('runs_active', 'Runs that a worker holds.', (d) => d.active);
  gauge('queue_oldest_waiting_seconds', 'Age of the oldest queued run.', (d) => d.oldestWaitingSeconds);
  gauge('worker_slots', 'Runs all workers together can hold.', (d) => d.slots);
  gauge('audit_backlog_events', 'Commits that wait to be stored in Postgres.', (d) => d.auditBacklog);
  metrics.gauge({
    name: 'queue_depth',
    help: 'Runs by state.',
    labels: ['state'],
    collect: async (g) => {
      const now = await demand();
      for (const state of STATES) g.set({ state }, now[state]);
    },
  });
};

export const createApiMetrics = (deps: MetricsDeps): ApiMetrics => {
  const { metrics } = deps;
  const tenants = new Set<string>();
  const submitted = metrics.counter({
    name: 'runs_submitted_total',
    help: 'Runs created.',
    labels: ['agent'],
  });
  const requests = metrics.histogram({
    name: 'http_request_duration_seconds',
    help: 'Time until the answer began.',
    labels: ['method', 'route', 'status'],
  });
  addDemandGauges(metrics, sharedDemand(deps));
  metrics.gauge({
    name: 'cap_remaining_ratio',
    help: 'What is left of a daily cap, of the tenant that has the least left.',
    labels: ['scope'],
    collect: async (g) => {
      const ratios = await Promise.all([...tenants].map((tenant) => remainingRatio(deps, tenant)));
      const known = ratios.filter((ratio) => ratio !== null);
      if (known.length > 0) g.set({ scope: 'tenant_day' }, Math.min(...known));
    },
  });
  return {
    runSubmitted: (agent) => submitted.inc({ agent: agent ?? 'inline' }),
    requestDone: (labels, seconds) => requests.observe(labels, seconds),
    tenantSeen: (tenantId) => {
      if (tenants.size < MOST_TENANTS) tenants.add(tenantId);
    },
  };
};

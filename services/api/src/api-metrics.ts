import { tenantDay } from '@signalbox/engine';
import { type Nano, toUsd } from '@signalbox/contracts';
import {
  type CostMetric,
  createCostMetric,
  createAgentLabel,
  createEndMetrics,
  type Demand,
  type EndMetrics,
  getTenantCaps,
  type Partition,
  readDemand,
  readSpend,
  type Spend,
} from '@signalbox/run-state';
import type { Clock, Gauge, Metrics } from '@signalbox/runtime';
import { sharedRead } from './http/shared-read.ts';

/** The metrics of contract §4 that the api can tell. Gauges are read when they are scraped. */
export interface ApiMetrics extends EndMetrics, CostMetric {
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
const ONE_SCRAPE = { leastMs: 250 };
const MOST_TENANTS = 1000;
const STATES = ['waiting', 'prioritized', 'active', 'parked', 'delayed'] as const;

/**
 * What is left of a cap as a part of it. Null without a cap, and for one of 0: that tenant is meant to spend nothing,
 * and as the one with the least left it would hide all others.
 */
const leftOf = (cap: Nano | null, { spentNano, heldNano }: Spend): number | null =>
  cap === null || cap === 0 ? null : Math.max(0, (cap - spentNano - heldNano) / cap);

interface TenantMoney {
  readonly left: { readonly tenant_day: number | null; readonly tenant_month: number | null };
  readonly heldNano: Nano;
}

const readMoney = async ({ partition, clock }: MetricsDeps, tenantId: string): Promise<TenantMoney> => {
  const caps = await getTenantCaps(partition, tenantId);
  const { day } = tenantDay(caps, clock.now());
  const spend = await readSpend(partition, { tenantId, userId: null, day });
  return {
    left: {
      tenant_day: leftOf(caps.tenantDailyNano, spend.day),
      tenant_month: leftOf(caps.tenantMonthlyNano, spend.month),
    },
    // The month's: a hold of yesterday may still be open.
    heldNano: spend.month.heldNano,
  };
};

const addMoneyGauges = (metrics: Metrics, money: () => Promise<readonly TenantMoney[]>): void => {
  metrics.gauge({
    name: 'cap_remaining_ratio',
    help: 'What is left of a cap, of the tenant that has the least left; caps of 0 are left out.',
    labels: ['scope'],
    collect: async (g) => {
      const all = await money();
      g.reset();
      for (const scope of ['tenant_day', 'tenant_month'] as const) {
        const known = all.map(({ left }) => left[scope]).filter((ratio) => ratio !== null);
        if (known.length > 0) g.set({ scope }, Math.min(...known));
      }
    },
  });
  metrics.gauge({
    name: 'cost_held_usd',
    help: 'Held for calls under way, of all tenants that called this process.',
    collect: async (g) => {
      g.set(toUsd((await money()).reduce((sum, { heldNano }) => sum + heldNano, 0)));
    },
  });
};

/** What runs and what could is not among them: `runs_active` and `worker_slots` are added up over the workers. */
const addDemandGauges = (metrics: Metrics, demand: () => Promise<Demand>): void => {
  const gauge = (name: string, help: string, value: (demand: Demand) => number): void => {
    metrics.gauge({ name, help, collect: async (g: Gauge) => g.set(value(await demand())) });
  };
  gauge(
    'queue_oldest_waiting_seconds',
    'How long the oldest queued run waits that no concurrency cap keeps back.',
    (d) => d.oldestWaitingSeconds,
  );
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
  const agentLabel = createAgentLabel();
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
  addDemandGauges(
    metrics,
    sharedRead(deps.clock, () => readDemand(deps.partition, deps.clock.now()), ONE_SCRAPE),
  );
  addMoneyGauges(
    metrics,
    sharedRead(
      deps.clock,
      () => Promise.all([...tenants].map((tenant) => readMoney(deps, tenant))),
      ONE_SCRAPE,
    ),
  );
  return {
    ...createEndMetrics(metrics),
    ...createCostMetric(metrics),
    runSubmitted: (agent) => submitted.inc({ agent: agentLabel(agent) }),
    requestDone: (labels, seconds) => requests.observe(labels, seconds),
    tenantSeen: (tenantId) => {
      if (tenants.size < MOST_TENANTS) tenants.add(tenantId);
    },
  };
};

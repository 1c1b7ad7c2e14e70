import type { Usage } from '@signalbox/contracts';
import {
  type CostMetric,
  createCostMetric,
  createEndMetrics,
  createModelLabels,
  type EndMetrics,
  type ModelLabels,
} from '@signalbox/run-state';
import { createMetrics, type Counter, type Metrics } from '@signalbox/runtime';

/** What a worker counts (contract §4). No label carries a run, user or session id. */
export interface WorkerMetrics extends EndMetrics, CostMetric {
  readonly registry: Metrics;
  readonly costDenied: Counter<'scope'>;
  readonly fencedWrites: Counter;
  readonly resumes: Counter<'reason'>;
  readonly duplicateAttempts: Counter;
  slots(total: number): void;
  active(count: number): void;
  queueWait(seconds: number): void;
  callEnded(model: string, call: { outcome: string; ms: number; usage: Usage | null }): void;
  toolEnded(tool: string, call: { outcome: string; ms: number }): void;
  stepOverhead(ms: number): void;
}

const LATENCY_BUCKETS = [
  0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
const WAIT_BUCKETS = [0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];

/** A call that had less time than this was cut off by its run's own limit. */
const FAIR_TRIAL_MS = 30_000;

/** A call that we ended says nothing of its provider, unless it was given time and did not come to its end. */
const isProviderFault = (outcome: string, ms: number): boolean => {
  if (outcome === 'timeout') return ms >= FAIR_TRIAL_MS;
  return outcome !== 'ok' && outcome !== 'aborted' && outcome !== 'worker_stopped';
};

const callMetrics = (registry: Metrics, labelsOf: ModelLabels): WorkerMetrics['callEnded'] => {
  const duration = registry.histogram({
    name: 'llm_request_duration_seconds',
    help: 'Time of one attempt at a model.',
    labels: ['provider', 'model', 'outcome'],
    buckets: LATENCY_BUCKETS,
  });
  const tokens = registry.counter({
    name: 'llm_tokens_total',
    help: 'Tokens as the provider counted them.',
    labels: ['provider', 'model', 'direction'],
  });
  const errors = registry.counter({
    name: 'llm_errors_total',
    help: 'Attempts that failed at the provider, or were cut off by the time limit of the run after 30 s or more.',
    labels: ['provider', 'model', 'code'],
  });
  return (ref, { outcome, ms, usage }) => {
    const labels = labelsOf(ref);
    duration.observe({ ...labels, outcome }, ms / 1000);
    if (isProviderFault(outcome, ms)) errors.inc({ ...labels, code: outcome });
    if (usage === null) return;
    tokens.inc({ ...labels, direction: 'input' }, usage.input_tokens);
    tokens.inc({ ...labels, direction: 'output' }, usage.output_tokens);
  };
};

const slotMetrics = (registry: Metrics): Pick<WorkerMetrics, 'slots' | 'active'> => {
  const slots = registry.gauge({ name: 'worker_slots', help: 'Runs this worker can work on at once.' });
  const busy = registry.gauge({ name: 'worker_slots_busy', help: 'Runs this worker works on now.' });
  const active = registry.gauge({ name: 'runs_active', help: 'Runs this worker works on now.' });
  return {
    slots: (total) => slots.set(total),
    active: (count) => {
      busy.set(count);
      active.set(count);
    },
  };
};

/** What goes on beside the calls, as counters. */
const incidents = (
  registry: Metrics,
): Pick<WorkerMetrics, 'costDenied' | 'fencedWrites' | 'resumes' | 'duplicateAttempts'> => ({
  costDenied: registry.counter({ name: 'cost_denied_total', help: 'Holds refused.', labels: ['scope'] }),
  fencedWrites: registry.counter({
    name: 'fenced_writes_total',
    help: 'Runs lost at a write: another owner has them, or our lease was over.',
  }),
  resumes: registry.counter({
    name: 'resumes_total',
    help: 'Claims of runs that had already started; those of lost workers are counted by the scheduler.',
    labels: ['reason'],
  }),
  duplicateAttempts: registry.counter({
    name: 'duplicate_attempts_total',
    help: 'Model calls that are made again, though paid for: their worker was lost, or had to stop before they ended.',
  }),
});

export const createWorkerMetrics = (): WorkerMetrics => {
  const registry = createMetrics({ prefix: 'signalbox_' });
  const labelsOf = createModelLabels();
  const queueWait = registry.histogram({
    name: 'run_queue_wait_seconds',
    help: 'From runnable to claimed.',
    buckets: WAIT_BUCKETS,
  });
  const tools = registry.histogram({
    name: 'tool_duration_seconds',
    help: 'Time of one tool call.',
    labels: ['tool', 'outcome'],
    buckets: LATENCY_BUCKETS,
  });
  const overhead = registry.histogram({
    name: 'step_overhead_seconds',
    help: 'Time a step took outside provider and tool.',
  });
  return {
    ...createEndMetrics(registry),
    ...createCostMetric(registry, labelsOf),
    registry,
    ...incidents(registry),
    ...slotMetrics(registry),
    queueWait: (seconds) => queueWait.observe(seconds),
    callEnded: callMetrics(registry, labelsOf),
    toolEnded: (tool, { outcome, ms }) => tools.observe({ tool, outcome }, ms / 1000),
    stepOverhead: (ms) => overhead.observe(ms / 1000),
  };
};

import type { Metrics } from '@signalbox/runtime';
import { createAgentLabel } from './metric-labels.ts';

/**
 * What is counted of runs that end (contract §4), alike in every process that writes ends: a worker, or the api where
 * nobody owns the run. Whoever's commit wrote an end counts it, so that all processes together count each once.
 */
export interface EndMetrics {
  runEnded(run: EndedRun, nowMs: number): void;
}

/** Of a run with its end what is counted; a `RunState` is one. */
export interface EndedRun {
  readonly submitted: { readonly agent: { readonly name: string | null } };
  readonly status: string;
  readonly error: { readonly code: string } | null;
  readonly abort: { readonly requested_at: string } | null;
  readonly aborted: { readonly caught: string } | null;
  readonly createdAt: string;
}

const RUN_BUCKETS = [0.05, 0.1, 0.5, 1, 2, 5, 10, 30, 60, 120, 300, 600, 1800, 3600];

export const createEndMetrics = (registry: Metrics): EndMetrics => {
  const agentLabel = createAgentLabel();
  const finished = registry.counter({
    name: 'runs_finished_total',
    help: 'Runs that ended here.',
    labels: ['agent', 'status', 'code'],
  });
  const duration = registry.histogram({
    name: 'run_duration_seconds',
    help: 'From submission to the end.',
    labels: ['agent', 'status'],
    buckets: RUN_BUCKETS,
  });
  const aborts = registry.counter({
    name: 'aborts_total',
    help: 'Runs ended by an abort.',
    labels: ['state'],
  });
  const abortLatency = registry.histogram({
    name: 'abort_latency_seconds',
    help: 'From the abort request to the end of the run.',
  });
  return {
    runEnded: ({ submitted, status, error, abort, aborted, createdAt }, nowMs) => {
      const secondsSince = (time: string): number => (nowMs - Date.parse(time)) / 1000;
      const agent = agentLabel(submitted.agent.name);
      finished.inc({ agent, status, code: error?.code ?? '' });
      duration.observe({ agent, status }, secondsSince(createdAt));
      if (aborted === null) return;
      aborts.inc({ state: aborted.caught });
      if (abort !== null) abortLatency.observe(secondsSince(abort.requested_at));
    },
  };
};

import { type Backlog, readBacklog, type Partition } from '@signalbox/run-state';
import type { Clock, Counter, Histogram, Metrics } from '@signalbox/runtime';

/** What the relay counts (contract §4). */
export interface RelayMetrics {
  readonly batchRows: Histogram;
  readonly written: Counter;
  readonly quarantined: Counter;
  readonly reclaimed: Counter;
}

const ROWS = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000];

export const createRelayMetrics = (registry: Metrics): RelayMetrics => ({
  batchRows: registry.histogram({
    name: 'audit_batch_rows',
    help: 'Events of one transaction, those stored before included.',
    buckets: ROWS,
  }),
  written: registry.counter({ name: 'audit_written_total', help: 'Events stored for the first time.' }),
  quarantined: registry.counter({
    name: 'audit_quarantined_total',
    help: 'What could not be stored as the event it claims to be; counted again when it is delivered again.',
  }),
  reclaimed: registry.counter({
    name: 'audit_reclaimed_total',
    help: 'Commits taken over that were delivered before and not acknowledged.',
  }),
});

export const exposeLeadership = (registry: Metrics, isLeader: () => boolean): void => {
  registry.gauge({
    name: 'audit_writer_leader',
    help: 'Whether this audit-writer writes (1) or stands by (0).',
    collect: (gauge) => gauge.set(isLeader() ? 1 : 0),
  });
};

/** Gauges of the stream, read at each scrape. All replicas report the same values: aggregate with max. */
export const exposeBacklog = (
  registry: Metrics,
  { partition, clock }: { partition: Partition; clock: Clock },
): void => {
  // Both gauges of one scrape share one read.
  let reading: Promise<Backlog> | undefined;
  const read = (): Promise<Backlog> => {
    reading ??= readBacklog(partition, clock.now()).finally(() => (reading = undefined));
    return reading;
  };
  registry.gauge({
    name: 'audit_backlog_events',
    help: 'Commits in the audit stream that Postgres does not have yet.',
    collect: async (gauge) => gauge.set((await read()).events),
  });
  registry.gauge({
    name: 'audit_lag_seconds',
    help: 'Age of the oldest commit that Postgres does not have yet.',
    collect: async (gauge) => gauge.set((await read()).lagSeconds),
  });
};

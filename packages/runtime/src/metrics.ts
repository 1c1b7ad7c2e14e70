/**
 * Prometheus metrics: the only place that names prom-client. Owns one registry per process, nothing global.
 * Labels are typed: each use names all of them. Values of a label must be few and known (no ids).
 */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import * as prom from 'prom-client';
import { type Clock, systemClock } from './clock.ts';
import { withTimeout } from './timeout.ts';

/** The labels object comes first, and only where the metric has labels. */
type LabelArgs<L extends string> = [L] extends [never] ? [] : [labels: Readonly<Record<L, string | number>>];

export interface Counter<L extends string = never> {
  inc(...args: [...LabelArgs<L>, by?: number]): void;
}

export interface Gauge<L extends string = never> {
  set(...args: [...LabelArgs<L>, value: number]): void;
  inc(...args: [...LabelArgs<L>, by?: number]): void;
  dec(...args: [...LabelArgs<L>, by?: number]): void;
  /** Forgets every label combination (a gauge without labels becomes 0). */
  reset(): void;
}

export interface Histogram<L extends string = never> {
  observe(...args: [...LabelArgs<L>, value: number]): void;
}

export interface MetricOptions<L extends string> {
  /** Without the prefix. */
  readonly name: string;
  readonly help: string;
  readonly labels?: readonly L[];
}

export interface GaugeOptions<L extends string> extends MetricOptions<L> {
  /**
   * Called at each scrape to set the gauge. If it fails or takes longer than 2 s the gauge is left out of that scrape
   * and `<prefix>metric_collect_errors_total` counts it: a missing value is honest, an old one is not.
   */
  readonly collect?: (gauge: Gauge<L>) => void | Promise<void>;
}

export interface HistogramOptions<L extends string> extends MetricOptions<L> {
  /** Upper bounds, ascending. Default: seconds from 5 ms to 10 s. */
  readonly buckets?: readonly number[];
}

export interface Metrics {
  counter<L extends string = never>(options: MetricOptions<L>): Counter<L>;
  gauge<L extends string = never>(options: GaugeOptions<L>): Gauge<L>;
  histogram<L extends string = never>(options: HistogramOptions<L>): Histogram<L>;
  /** The whole registry as Prometheus text. */
  render(): Promise<string>;
  readonly contentType: string;
}

const COLLECT_TIMEOUT_MS = 2_000;

/** `prefix` goes before each name, except the usual `process_*` and `nodejs_*` metrics. */
export function createMetrics({ prefix, clock = systemClock }: { prefix: string; clock?: Clock }): Metrics {
  const registry = new prom.Registry();
  prom.collectDefaultMetrics({ register: registry });
  const common = <L extends string>({ name, help, labels = [] }: MetricOptions<L>) => ({
    name: prefix + name,
    help,
    labelNames: labels,
    registers: [registry],
  });
  const errors = new prom.Counter(
    common({
      name: 'metric_collect_errors_total',
      help: 'Gauges that could not be read.',
      labels: ['metric'],
    }),
  );

  // The casts: prom-client takes the same calls, but its types let labels be left out.
  const metrics: Metrics = {
    counter: <L extends string>(options: MetricOptions<L>) =>
      new prom.Counter(common(options)) as unknown as Counter<L>,
    gauge: <L extends string>(options: GaugeOptions<L>) => {
      const gauge: prom.Gauge<L> = new prom.Gauge({
        ...common(options),
        ...(options.collect !== undefined && {
          collect: () => collectInto(gauge, options, { errors, clock }),
        }),
      });
      return gauge as unknown as Gauge<L>;
    },
    histogram: <L extends string>({ buckets, ...options }: HistogramOptions<L>) =>
      new prom.Histogram({
        ...common(options),
        ...(buckets !== undefined && { buckets: [...buckets] }),
      }) as unknown as Histogram<L>,
    render: () => registry.metrics(),
    contentType: registry.contentType,
  };
  addEventLoopLag(metrics);
  return metrics;
}

async function collectInto<L extends string>(
  gauge: prom.Gauge<L>,
  { name, labels, collect }: GaugeOptions<L>,
  { errors, clock }: { errors: prom.Counter; clock: Clock },
): Promise<void> {
  try {
    await withTimeout(Promise.resolve(collect?.(gauge as unknown as Gauge<L>)), COLLECT_TIMEOUT_MS, clock);
  } catch {
    errors.inc({ metric: name });
    gauge.reset();
    if (labels === undefined) gauge.remove({});
  }
}

const LAG_RESOLUTION_MS = 10;

/** p99 since the last scrape: what a timer waits beyond its time because something else held the thread. */
function addEventLoopLag(metrics: Metrics): void {
  const delay = monitorEventLoopDelay({ resolution: LAG_RESOLUTION_MS });
  delay.enable();
  metrics.gauge({
    name: 'event_loop_lag_seconds',
    help: 'Event loop lag, 99th percentile since the last scrape.',
    collect: (gauge) => {
      // The monitor records the time between two of its timers, so an idle loop shows the resolution itself.
      gauge.set(Math.max(0, delay.percentile(99) / 1e9 - LAG_RESOLUTION_MS / 1e3));
      delay.reset();
    },
  });
}

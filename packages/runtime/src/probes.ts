/** What `/healthz`, `/readyz` and `/metrics` answer, whatever HTTP server carries it. */
import { type Clock, systemClock } from './clock.ts';
import type { Metrics } from './metrics.ts';
import { type LiveReport, type ReadyReport, shortReason } from './readiness.ts';
import { withTimeout } from './timeout.ts';

export interface Probes {
  readonly metrics: Pick<Metrics, 'render' | 'contentType'>;
  ready(): Promise<ReadyReport>;
  live(): LiveReport;
  readonly clock?: Clock;
}

export interface ProbeAnswer {
  readonly status: 200 | 500 | 503;
  readonly contentType: string;
  readonly body: string;
}

/** A dependency that hangs makes the process unready; it must not make the probe hang. */
const PROBE_TIMEOUT_MS = 2_000;

/** undefined for any other path. Never rejects; a probe that throws or hangs is `unavailable`. */
export async function answerProbe(probes: Probes, path: string): Promise<ProbeAnswer | undefined> {
  switch (path) {
    case '/healthz':
      return toAnswer(await guarded('live', async () => probes.live(), probes.clock));
    case '/readyz':
      return toAnswer(await guarded('ready', () => probes.ready(), probes.clock));
    case '/metrics':
      return renderMetrics(probes.metrics);
    default:
      return undefined;
  }
}

function toAnswer(report: ReadyReport): ProbeAnswer {
  return {
    status: report.status === 'unavailable' ? 503 : 200,
    contentType: 'application/json',
    body: JSON.stringify(report),
  };
}

async function guarded(
  name: string,
  run: () => Promise<ReadyReport>,
  clock: Clock = systemClock,
): Promise<ReadyReport> {
  try {
    return await withTimeout(run(), PROBE_TIMEOUT_MS, clock);
  } catch (error) {
    return { status: 'unavailable', checks: { [name]: { ok: false, detail: shortReason(error) } } };
  }
}

async function renderMetrics(metrics: Probes['metrics']): Promise<ProbeAnswer> {
  try {
    return { status: 200, contentType: metrics.contentType, body: await metrics.render() };
  } catch (error) {
    return {
      status: 500,
      contentType: 'text/plain',
      body: `metrics could not be rendered: ${shortReason(error)}\n`,
    };
  }
}

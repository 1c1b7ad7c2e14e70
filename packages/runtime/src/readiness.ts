/** Whether a process can do its own work, as its probes tell it. */
import { type Clock, systemClock } from './clock.ts';
import { withTimeout } from './timeout.ts';

export interface CheckResult {
  readonly ok: boolean;
  readonly detail?: string;
}

/** `degraded` still counts as ready: the process does its own work, but something beside it is missing. */
export interface ReadyReport {
  readonly status: 'ok' | 'degraded' | 'unavailable';
  readonly checks: Readonly<Record<string, CheckResult>>;
}

export type LiveReport = ReadyReport;

export interface Check {
  /** Rejects, or takes too long, when the dependency cannot be used. */
  readonly run: () => Promise<unknown>;
  /** Failing makes the process `unavailable` when required, else `degraded`. */
  readonly required: boolean;
}

/** Below the limit on a whole probe, so that the answer can still name the check that hangs. */
const CHECK_TIMEOUT_MS = 1_500;

/** Runs all checks side by side; never rejects, never hangs. */
export async function checkReadiness(
  checks: Readonly<Record<string, Check>>,
  { timeoutMs = CHECK_TIMEOUT_MS, clock = systemClock }: { timeoutMs?: number; clock?: Clock } = {},
): Promise<ReadyReport> {
  let status: ReadyReport['status'] = 'ok';
  const results = await Promise.all(
    Object.entries(checks).map(async ([name, { run, required }]): Promise<[string, CheckResult]> => {
      const result = await outcome(run, timeoutMs, clock);
      if (!result.ok && required) status = 'unavailable';
      else if (!result.ok && status === 'ok') status = 'degraded';
      return [name, result];
    }),
  );
  return { status, checks: Object.fromEntries(results) };
}

async function outcome(run: Check['run'], timeoutMs: number, clock: Clock): Promise<CheckResult> {
  try {
    await withTimeout(run(), timeoutMs, clock);
    return { ok: true };
  } catch (error) {
    return { ok: false, detail: shortReason(error) };
  }
}

/** Errors of several connection attempts have an empty message and only a code. */
export function shortReason(error: unknown): string {
  if (!(error instanceof Error)) return 'failed';
  const { code } = error as { code?: unknown };
  return error.message || (typeof code === 'string' ? code : error.name);
}

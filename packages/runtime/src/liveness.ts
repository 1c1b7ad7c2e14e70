/**
 * Liveness: whether a process can still get on by itself. What restarts it is outside (Kubernetes, compose), so one that
 * cannot must end. A store that is away is no reason: a restart would not bring it back; readiness tells that.
 *
 * A `Heartbeat` belongs to one loop and is beaten at each round, also by one that finds nothing to do.
 * States: resting (not begun, or in a long piece of work with time limits of its own) -> beating -> late (no beat for
 * the limit) -> beating.
 */
import { type Clock, pause } from './clock.ts';
import type { Logger } from './logger.ts';
import type { CheckResult, LiveReport } from './readiness.ts';

export interface HeartbeatOptions {
  readonly clock: Clock;
  readonly limitMs: number;
}

export class Heartbeat {
  readonly #options: HeartbeatOptions;
  #lastAt: number | null = null;

  constructor(options: HeartbeatOptions) {
    this.#options = options;
  }

  beat(): void {
    this.#lastAt = this.#options.clock.monotonic();
  }

  /** Until the next beat nothing is expected. */
  rest(): void {
    this.#lastAt = null;
  }

  check(): CheckResult {
    const { clock, limitMs } = this.#options;
    const silentMs = this.#lastAt === null ? 0 : clock.monotonic() - this.#lastAt;
    if (silentMs <= limitMs) return { ok: true };
    return { ok: false, detail: `no round for ${Math.round(silentMs / 1000)} s` };
  }
}

export type LiveChecks = Readonly<Record<string, () => CheckResult>>;

export function liveReport(checks: LiveChecks): LiveReport {
  const results = Object.fromEntries(Object.entries(checks).map(([name, check]) => [name, check()]));
  const alive = Object.values(results).every(({ ok }) => ok);
  return { status: alive ? 'ok' : 'unavailable', checks: results };
}

export interface LivenessWatch {
  readonly live: () => LiveReport;
  /** Ends the process with an error. */
  readonly end: (reason: string) => unknown;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly stopping: AbortSignal;
  readonly everyMs?: number;
}

const EVERY_MS = 5_000;
/** A process that was paused is late at its first look, and gets on right after. */
const LOOKS = 2;

/** Calls `end` when two looks in a row find the process not alive. Resolves then, or when stopping. Never rejects. */
export async function watchLiveness(watch: LivenessWatch): Promise<void> {
  const { live, end, clock, logger, stopping, everyMs = EVERY_MS } = watch;
  let dead = 0;
  while (!stopping.aborted) {
    const report = live();
    dead = report.status === 'unavailable' ? dead + 1 : 0;
    if (dead >= LOOKS) {
      logger.fatal('not alive: ending, to be started again', { checks: report.checks });
      end('not alive');
      return;
    }
    await pause(clock, everyMs, stopping);
  }
}

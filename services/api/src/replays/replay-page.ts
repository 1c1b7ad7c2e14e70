import type { ReplayDivergence, ReplayFailure, ReplayProgress, StoredReplay } from '@signalbox/audit-store';
import type { Divergence } from '@signalbox/contracts';
import type { Clock } from '@signalbox/runtime';

/** Divergences and failures a job keeps of each. */
const MAX_LISTED = 100;

/** What one page of a replay found. Each run counts once, and the cursor moves with it. */
export class ReplayPage {
  readonly #room: { readonly divergences: number; readonly failures: number };
  readonly #divergences: ReplayDivergence[] = [];
  readonly #failures: ReplayFailure[] = [];
  readonly #counts = { identical: 0, diverged: 0, failed: 0, notForked: 0, steps: 0 };
  #cursor: string | null = null;
  #busyMs = 0;

  constructor({ divergences, failures }: Pick<StoredReplay, 'divergences' | 'failures'>) {
    this.#room = {
      divergences: MAX_LISTED - divergences.length,
      failures: MAX_LISTED - failures.length,
    };
  }

  get busyMs(): number {
    return this.#busyMs;
  }

  timed<T>(clock: Clock, work: () => T): T {
    const startedAt = clock.monotonic();
    try {
      return work();
    } finally {
      this.#busyMs += clock.monotonic() - startedAt;
    }
  }

  identical(runId: string, steps: number): void {
    this.#counts.identical += 1;
    this.#see(runId, steps);
  }

  diverged(
    runId: string,
    steps: number,
    { divergence, notForked }: { readonly divergence: Divergence; readonly notForked: boolean },
  ): void {
    this.#counts.diverged += 1;
    if (notForked) this.#counts.notForked += 1;
    const { step, kind, expected, got } = divergence;
    if (this.#divergences.length < this.#room.divergences)
      this.#divergences.push({ run_id: runId, step, kind, expected, got });
    this.#see(runId, steps);
  }

  failed(runId: string, code: string): void {
    this.#counts.failed += 1;
    if (this.#failures.length < this.#room.failures) this.#failures.push({ run_id: runId, code });
    this.#see(runId, 0);
  }

  progress(): ReplayProgress {
    const { identical, diverged, failed } = this.#counts;
    return {
      ...this.#counts,
      cursor: this.#cursor,
      selected: identical + diverged + failed,
      busyMs: Math.round(this.#busyMs),
      divergences: this.#divergences,
      failures: this.#failures,
    };
  }

  #see(runId: string, steps: number): void {
    this.#counts.steps += steps;
    this.#cursor = runId;
  }
}

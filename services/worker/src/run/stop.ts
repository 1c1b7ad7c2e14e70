/** Why the worker itself ended a call. */
export type StopReason = 'aborted' | 'timeout' | 'lease_lost' | 'worker_stopped';

export interface CallStop {
  readonly signal: AbortSignal;
  /** Null while nothing stopped the call. */
  reason(): StopReason | null;
  dispose(): void;
}

/** What ends all calls of a run, whatever they are. */
export interface StopSources {
  /** Somebody asked the run to stop. */
  readonly aborted: AbortSignal;
  /** The lease is lost. */
  readonly lost: AbortSignal;
  /** The worker's time to drain is over. */
  readonly cut: AbortSignal;
}

/**
 * Ends the open calls of one run. Listens once to each source, until `dispose`: a composite signal for each call would
 * cost more than announcing it, and leave weak references at `lost` and `cut`, which live as long as the worker.
 */
export class CallStops {
  readonly #sources: StopSources;
  readonly #open = new Set<AbortController>();

  constructor(sources: StopSources) {
    this.#sources = sources;
    for (const source of this.#all()) source.addEventListener('abort', this.#onSource);
  }

  /** Of a call that may take `limitMs`. */
  open(limitMs: number): CallStop {
    const call = new AbortController();
    const stopped = this.#all().find(({ aborted }) => aborted);
    if (stopped !== undefined) call.abort(stopped.reason);
    this.#open.add(call);
    let timedOut = false;
    const expire = (): void => {
      timedOut = !call.signal.aborted;
      call.abort(new Error('time limit'));
    };
    // A timer may fire up to 1 ms early, and what ended too early for its limit would be tried once more.
    const timer = setTimeout(expire, Math.max(0, limitMs) + 1);
    return {
      signal: call.signal,
      reason: () => this.#reason(timedOut),
      dispose: () => {
        clearTimeout(timer);
        this.#open.delete(call);
      },
    };
  }

  /** No call is open any more. */
  dispose(): void {
    for (const source of this.#all()) source.removeEventListener('abort', this.#onSource);
  }

  readonly #onSource = (event: Event): void => {
    const { reason } = event.target as AbortSignal;
    for (const call of this.#open) call.abort(reason);
  };

  #all(): AbortSignal[] {
    const { aborted, lost, cut } = this.#sources;
    return [lost, aborted, cut];
  }

  #reason(timedOut: boolean): StopReason | null {
    const { aborted, lost, cut } = this.#sources;
    if (lost.aborted) return 'lease_lost';
    if (aborted.aborted) return 'aborted';
    if (timedOut) return 'timeout';
    return cut.aborted ? 'worker_stopped' : null;
  }
}

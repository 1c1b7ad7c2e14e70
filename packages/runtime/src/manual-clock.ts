import { type Clock, reasonOf } from './clock.ts';

interface Sleeper {
  readonly dueAt: number;
  wake(): void;
}

interface Watcher {
  readonly count: number;
  tell(): void;
}

const DEFAULT_START = Date.UTC(2026, 0, 1);

/**
 * A clock for tests that moves only when told to.
 * Owns the sleepers. A sleeper whose time has come is woken in order of due time, with the clock standing at
 * exactly that time, so that what it does next (for example sleeping again) happens at the right instant.
 */
export class ManualClock implements Clock {
  readonly #start: number;
  #elapsed = 0;
  #sleepers: Sleeper[] = [];
  #watchers: Watcher[] = [];

  constructor(startMs: number = DEFAULT_START) {
    this.#start = startMs;
  }

  now(): number {
    return this.#start + this.#elapsed;
  }

  monotonic(): number {
    return this.#elapsed;
  }

  /** How many sleeps are open. */
  get sleeping(): number {
    return this.#sleepers.length;
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) {
        reject(reasonOf(signal));
        return;
      }
      const onAbort = () => {
        this.#remove(sleeper);
        reject(reasonOf(signal));
      };
      const sleeper: Sleeper = {
        dueAt: this.#elapsed + Math.max(0, ms),
        wake: () => {
          signal?.removeEventListener('abort', onAbort);
          resolve();
        },
      };
      signal?.addEventListener('abort', onAbort, { once: true });
      this.#sleepers.push(sleeper);
      this.#tellWatchers();
    });
  }

  /** Resolves as soon as at least `count` sleeps are open: what a test waits for before it advances. */
  whenSleeping(count = 1): Promise<void> {
    return new Promise((resolve) => {
      this.#watchers.push({ count, tell: resolve });
      this.#tellWatchers();
    });
  }

  /** Moves time on by `ms`, waking each sleeper at its due time, including those that fall asleep on the way. */
  async advance(ms: number): Promise<void> {
    const target = this.#elapsed + ms;
    for (let next = this.#nextDue(target); next !== undefined; next = this.#nextDue(target)) {
      this.#elapsed = Math.max(this.#elapsed, next.dueAt);
      this.#remove(next);
      next.wake();
      await settled();
    }
    this.#elapsed = target;
    await settled();
  }

  #nextDue(target: number): Sleeper | undefined {
    let next: Sleeper | undefined;
    for (const sleeper of this.#sleepers) {
      if (sleeper.dueAt <= target && (next === undefined || sleeper.dueAt < next.dueAt)) next = sleeper;
    }
    return next;
  }

  #remove(sleeper: Sleeper): void {
    this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
  }

  #tellWatchers(): void {
    const reached = this.#watchers.filter((watcher) => watcher.count <= this.#sleepers.length);
    this.#watchers = this.#watchers.filter((watcher) => !reached.includes(watcher));
    for (const watcher of reached) watcher.tell();
  }
}

/** Lets the promises that were just resolved run on. */
function settled(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

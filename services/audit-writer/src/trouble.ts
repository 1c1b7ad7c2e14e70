/** What keeps the relay from working now. Owns that one error: the readiness check of this process. */
import { SignalboxError } from '@signalbox/contracts';
import type { Logger } from '@signalbox/runtime';

export class Trouble {
  readonly #logger: Logger;
  #error: Error | null = null;

  constructor(logger: Logger) {
    this.#logger = logger;
  }

  /** Told as a warning if it passes by itself, else as an error. */
  met(message: string, error: unknown, fields: Record<string, unknown> = {}): void {
    this.#error = error instanceof Error ? error : new Error(String(error));
    const passes = error instanceof SignalboxError && error.retryable;
    this.#logger[passes ? 'warn' : 'error'](message, { ...fields, error });
  }

  over(): void {
    this.#error = null;
  }

  /** Throws it. */
  assertNone(): void {
    if (this.#error !== null) throw this.#error;
  }
}

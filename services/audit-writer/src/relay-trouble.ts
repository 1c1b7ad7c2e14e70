import { SignalboxError } from '@signalbox/contracts';
import { type Logger, Trouble } from '@signalbox/runtime';

/** What keeps the relay from working now: this process is not ready, and its log says why. */
export class RelayTrouble extends Trouble {
  readonly #logger: Logger;

  constructor(logger: Logger) {
    super();
    this.#logger = logger;
  }

  /** Told as a warning if it passes by itself, else as an error. */
  tell(message: string, error: unknown, fields: Record<string, unknown> = {}): void {
    this.met(error);
    const passes = error instanceof SignalboxError && error.retryable;
    this.#logger[passes ? 'warn' : 'error'](message, { ...fields, error });
  }
}

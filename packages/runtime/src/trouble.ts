/** What keeps a loop of this process from working now. Owns that one error: a readiness check. */
export class Trouble {
  #error: Error | null = null;

  met(error: unknown): void {
    this.#error = error instanceof Error ? error : new Error(String(error));
  }

  over(): void {
    this.#error = null;
  }

  /** Throws it. */
  assertNone(): void {
    if (this.#error !== null) throw this.#error;
  }
}

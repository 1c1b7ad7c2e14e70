/** What its last round failed of. Owns that one error: the readiness check of this process. */
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

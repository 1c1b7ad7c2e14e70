/**
 * The secrets a process holds, which every text loses on its way out by exact match (R13): those of its environment for
 * good, and those that come later (keys of tenants), of which it keeps the last that were added.
 */
const LEAST_LENGTH = 6;
/** Each is looked for in every text. */
const MOST_ADDED = 5000;

/** A secret also as it stands in a URL or within JSON. */
const formsOf = (secret: string): string[] =>
  secret.length < LEAST_LENGTH
    ? []
    : [secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)];

export class HeldSecrets {
  readonly #own: readonly string[];
  readonly #added = new Set<string>();
  #forms: readonly string[] | null = null;

  /** Shorter ones than 6 signs are no secrets. */
  constructor(own: readonly string[]) {
    this.#own = own;
  }

  /** To be called before the secret is used. */
  add(secret: string): void {
    if (this.#added.delete(secret)) {
      this.#added.add(secret);
      return;
    }
    this.#added.add(secret);
    this.#forms = null;
    const [oldest] = this.#added;
    if (this.#added.size > MOST_ADDED && oldest !== undefined) this.#added.delete(oldest);
  }

  /** Longest first, so that no part of one is left. */
  forms(): readonly string[] {
    this.#forms ??= [...new Set([...this.#own, ...this.#added].flatMap(formsOf))].toSorted(
      (a, b) => b.length - a.length,
    );
    return this.#forms;
  }
}

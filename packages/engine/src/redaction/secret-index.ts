import { REDACTED } from './secrets.ts';

/**
 * Very many secrets at once, found by how they begin: what a text takes depends on its length and not on how many they
 * are. None is shorter than the piece that is looked up.
 */

export const START = 20;

export class SecretIndex {
  /** As often as it was added: two tenants may hold the same. */
  readonly #byStart = new Map<string, string[]>();

  add(secret: string): void {
    const start = secret.slice(0, START);
    this.#byStart.set(start, [...(this.#byStart.get(start) ?? []), secret]);
  }

  /** Once. */
  delete(secret: string): void {
    const start = secret.slice(0, START);
    const left = [...(this.#byStart.get(start) ?? [])];
    const at = left.indexOf(secret);
    if (at >= 0) left.splice(at, 1);
    if (left.length === 0) this.#byStart.delete(start);
    else this.#byStart.set(start, left);
  }

  /** Where two overlap both go: none hides another one. */
  without(text: string): string {
    if (this.#byStart.size === 0) return text;
    let [rest, end] = ['', 0];
    for (let at = 0; at + START <= text.length; at += 1) {
      const length = this.#lengthAt(text, at);
      if (length > 0 && at >= end) rest += text.slice(end, at) + REDACTED;
      if (length > 0) end = Math.max(end, at + length);
    }
    return rest + text.slice(end);
  }

  #lengthAt(text: string, at: number): number {
    const known = this.#byStart.get(text.slice(at, at + START)) ?? [];
    return Math.max(0, ...known.filter((secret) => text.startsWith(secret, at)).map(({ length }) => length));
  }
}

/** A queue per owner, served round-robin, so that a busy owner delays no other. */
export class RoundRobinQueue<T> {
  /** In the order of their turns. */
  readonly #owners = new Map<string, T[]>();
  #served: string | undefined;

  add(owner: string, item: T): void {
    const items = this.#owners.get(owner);
    if (items === undefined) this.#owners.set(owner, [item]);
    else items.push(item);
  }

  /** The next one; undefined when nothing waits. */
  take(): T | undefined {
    const owners = [...this.#owners.keys()];
    // Whoever had the last turn may be first again only when it was alone meanwhile.
    const owner = owners.find((name) => name !== this.#served) ?? owners[0];
    if (owner === undefined) return undefined;
    const items = this.#owners.get(owner) ?? [];
    const item = items.shift();
    this.#owners.delete(owner);
    if (items.length > 0) this.#owners.set(owner, items);
    this.#served = owner;
    return item;
  }
}

/** What waits for its turn, by whom it belongs to: owners take turns, so that who has much to do keeps nobody waiting. */
export class FairLine<T> {
  /** In the order of their turns. */
  readonly #owners = new Map<string, T[]>();

  add(owner: string, item: T): void {
    const items = this.#owners.get(owner);
    if (items === undefined) this.#owners.set(owner, [item]);
    else items.push(item);
  }

  /** The next one; undefined when nothing waits. */
  take(): T | undefined {
    const [first] = this.#owners;
    if (first === undefined) return undefined;
    const [owner, items] = first;
    const item = items.shift();
    this.#owners.delete(owner);
    if (items.length > 0) this.#owners.set(owner, items);
    return item;
  }
}

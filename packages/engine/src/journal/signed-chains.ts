/** What a file of checkpoints holds of a tenant's chains, once each checkpoint was checked. */
import { type CheckpointLeaf, CheckpointLine } from '@signalbox/contracts';
import { checkpointBreak, checkpointFault, type CheckpointHead, NO_CHECKPOINT } from './checkpoint.ts';

interface SignedEvent {
  readonly hash: string;
  /** The checkpoint that holds it. */
  readonly n: number;
}

export interface CheckpointEvidence {
  readonly checkpoints: AsyncIterable<string> | Iterable<string>;
  /** Of the keys that may sign, by id. */
  readonly publicKeys: ReadonlyMap<string, string>;
  readonly tenantId: string;
}

const parse = (text: string): unknown => {
  try {
    return JSON.parse(text) as unknown;
  } catch {
    return null;
  }
};

export class SignedChains {
  readonly #chains = new Map<string, Map<number, SignedEvent>>();
  /** Of each checkpoint in its order; the first is no checkpoint. */
  readonly #hashes = [NO_CHECKPOINT.hash];
  readonly #times: (string | null)[] = [null];

  /** How many checkpoints were read, and are sound. */
  get count(): number {
    return this.#times.length - 1;
  }

  get runIds(): string[] {
    return [...this.#chains.keys()];
  }

  /** When the nth was signed; null: there is none. */
  signedAt(n: number): string | null {
    return this.#times[n] ?? null;
  }

  hashOf(runId: string, seq: number): string | null {
    return this.#chains.get(runId)?.get(seq)?.hash ?? null;
  }

  /** Up to where the first n checkpoints hold a chain. */
  lastOf(runId: string, n: number): number {
    let last = 0;
    for (const [seq, event] of this.#chains.get(runId) ?? []) if (event.n <= n && seq > last) last = seq;
    return last;
  }

  /**
   * Answers what is wrong with the first bad one; null: nothing. Each checkpoint once, in its order. A line may come
   * twice, word for word, and one that was torn by a crash comes again whole: a line that nobody can read counts as
   * not there.
   */
  async read({ checkpoints, publicKeys, tenantId }: CheckpointEvidence): Promise<string | null> {
    for await (const text of checkpoints) {
      const { data: line } = CheckpointLine.safeParse(parse(text));
      if (line === undefined || line.tenant_id !== tenantId) continue;
      if (line.n <= this.count && this.#hashes[line.n] === line.hash) continue;
      const head: CheckpointHead = { n: this.count, hash: this.#hashes[this.count] ?? NO_CHECKPOINT.hash };
      const why = checkpointBreak(head, line) ?? checkpointFault(line, { leaves: line.leaves, publicKeys });
      if (why !== null) return why;
      for (const leaf of line.leaves) this.#add(leaf, line.n);
      this.#hashes.push(line.hash);
      this.#times.push(line.ts);
    }
    return null;
  }

  #add({ run_id, seq, hash }: CheckpointLeaf, n: number): void {
    const chain = this.#chains.get(run_id) ?? new Map<number, SignedEvent>();
    chain.set(seq, { hash, n });
    this.#chains.set(run_id, chain);
  }
}

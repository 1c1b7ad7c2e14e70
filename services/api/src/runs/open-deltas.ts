import type { Entry } from '@signalbox/contracts';
import { peek } from './entries.ts';

/**
 * Pieces of text that a model is generating, on their way to one reader. Ephemeral: shown only between the
 * events that open and close their step, and dropped when the reader is too slow.
 */

interface Delta {
  readonly step: number;
  readonly sealed: string;
}

interface Shown {
  readonly type: 'delta';
  readonly step: number;
  readonly text: string;
}

const MOST_WAITING = 500;

export class OpenDeltas {
  readonly #unseal: (sealed: string) => string | null;
  #waiting: Delta[] = [];
  /** The step whose call is announced and has no result; 0: none. */
  #step = 0;
  /** Nothing of steps up to here is shown any more. */
  #closed = 0;

  constructor(unseal: (sealed: string) => string | null) {
    this.#unseal = unseal;
  }

  /** Takes up where a journal stands that the reader may have seen already. */
  resume(entries: readonly Entry[]): void {
    const last = entries.map(peek).findLast(({ type }) => type.startsWith('llm.'));
    if (last?.type === 'llm.requested') this.open(last.data.step ?? 0);
  }

  add(step: number, sealed: string): void {
    if (step > this.#closed && this.#waiting.length < MOST_WAITING) this.#waiting.push({ step, sealed });
  }

  open(step: number): void {
    this.#step = step;
    if (this.#closed >= step) this.#closed = step - 1;
  }

  /** What is left of a step that got its result. */
  *close(step: number): Generator<Shown> {
    yield* this.take();
    this.#closed = step;
    this.#step = 0;
    this.#waiting = this.#waiting.filter((delta) => delta.step > step);
  }

  /** What may be shown now; later steps wait for their event. */
  *take(): Generator<Shown> {
    const ready = this.#waiting.filter(({ step }) => step === this.#step);
    if (ready.length === 0) return;
    this.#waiting = this.#waiting.filter(({ step }) => step !== this.#step);
    for (const { step, sealed } of ready) {
      const text = this.#unseal(sealed);
      if (text !== null) yield { type: 'delta', step, text };
    }
  }
}

import { z } from 'zod';

/** What the scripts answer, named once. */
export const CommitCode = z.enum([
  'OK',
  'ABORTED',
  'WOKEN',
  'PRESSURE',
  'DENIED',
  'CAP_MISSING',
  'FENCED',
  'TERMINAL',
  'CONFLICT',
  'NOT_FOUND',
]);
export type CommitCode = z.infer<typeof CommitCode>;

/** A runnable run that is to be given to the queue. */
export interface Activation {
  readonly runId: string;
  readonly wakeSeq: number;
  /** Goes before those that wait in the queue: its tenant is below its fair share of slots. */
  readonly front?: true;
  /** It was given to the queue long ago, and nobody has claimed the run. */
  readonly again?: true;
}

export const Text = z.string();
export const Texts = z.array(z.string());

/** Lua returns a map as [field, value, ...]. */
const mapOf = (flat: readonly string[]): Map<string, string> => {
  const map = new Map<string, string>();
  for (let i = 0; i + 1 < flat.length; i += 2) map.set(flat[i] ?? '', flat[i + 1] ?? '');
  return map;
};

export const FlatMap = Texts.transform(mapOf);

const activationsOf = (flat: readonly string[]): Activation[] => {
  const activations: Activation[] = [];
  for (let i = 0; i + 2 < flat.length; i += 3) {
    const activation = { runId: flat[i] ?? '', wakeSeq: Number(flat[i + 1]) };
    const how = flat[i + 2];
    activations.push(how === 'front' || how === 'again' ? { ...activation, [how]: true } : activation);
  }
  return activations;
};

export const Activations = Texts.transform(activationsOf);

/**
 * The reply of a script that workers call all the time, checked by hand: a schema would take a tenth of what a commit
 * costs its worker. Throws on what the script does not return.
 */
export class ReplyReader {
  readonly #reply: readonly unknown[];

  constructor(reply: unknown) {
    if (!Array.isArray(reply)) throw new TypeError('the reply of a script is no list');
    this.#reply = reply;
  }

  text(at: number): string {
    const value = this.#reply[at];
    if (typeof value === 'string') return value;
    throw new TypeError(`the reply of a script has no text at ${at}`);
  }

  /** Redis gives a field of a hash as text. */
  integer(at: number): number {
    const value = Number(this.#reply[at] ?? Number.NaN);
    if (Number.isSafeInteger(value)) return value;
    throw new TypeError(`the reply of a script has no integer at ${at}`);
  }

  texts(at: number): readonly string[] {
    const value = this.#reply[at];
    if (Array.isArray(value) && value.every((item) => typeof item === 'string')) return value;
    throw new TypeError(`the reply of a script has no texts at ${at}`);
  }

  map(at: number): ReadonlyMap<string, string> {
    return mapOf(this.texts(at));
  }

  activations(at: number): readonly Activation[] {
    return activationsOf(this.texts(at));
  }
}

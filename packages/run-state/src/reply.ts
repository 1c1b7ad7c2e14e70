import { z } from 'zod';

/** What the scripts answer, named once. */
export const CommitCode = z.enum([
  'OK',
  'ABORTED',
  'WOKEN',
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
}

export const Text = z.string();
export const Texts = z.array(z.string());

/** Lua returns a map as [field, value, ...]. */
export const FlatMap = Texts.transform((flat) => {
  const map = new Map<string, string>();
  for (let i = 0; i + 1 < flat.length; i += 2) map.set(flat[i] ?? '', flat[i + 1] ?? '');
  return map;
});

export const Activations = Texts.transform((flat) => {
  const activations: Activation[] = [];
  for (let i = 0; i + 2 < flat.length; i += 3) {
    const activation = { runId: flat[i] ?? '', wakeSeq: Number(flat[i + 1]) };
    activations.push(flat[i + 2] === 'front' ? { ...activation, front: true } : activation);
  }
  return activations;
});

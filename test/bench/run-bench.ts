/** Measures in alternation: each repetition measures every trial once, each time from another one on. */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { Context, Sample, Trial } from './trial.ts';

export interface BenchOptions {
  readonly trials: readonly Trial[];
  readonly repetitions: number;
  /** Each measurement gets a directory below; its data are removed after it. */
  readonly dir: string;
  readonly context: Omit<Context, 'dir'>;
  /** One that fails is left out; the others go on. */
  readonly onFailure: (trial: Trial, error: unknown) => void;
  readonly onSample: (trial: Trial, repetition: number, sample: Sample) => void;
}

export interface Measured {
  readonly trial: Trial;
  readonly samples: readonly Sample[];
}

const rotated = <T>(items: readonly T[], by: number): T[] => {
  const at = items.length === 0 ? 0 : by % items.length;
  return [...items.slice(at), ...items.slice(0, at)];
};

export const runBench = async (options: BenchOptions): Promise<Measured[]> => {
  const { trials, repetitions } = options;
  const samples = new Map<Trial, Sample[]>(trials.map((trial) => [trial, []]));
  let number = 0;
  for (let repetition = 0; repetition < repetitions; repetition += 1) {
    for (const trial of rotated(trials, repetition)) {
      const dir = join(options.dir, `measurement-${++number}`);
      await rm(dir, { recursive: true, force: true });
      try {
        const sample = await trial.measure({ ...options.context, dir });
        samples.get(trial)?.push(sample);
        options.onSample(trial, repetition, sample);
      } catch (error) {
        options.onFailure(trial, error);
      }
      for (const store of ['redis', 'postgres']) await rm(join(dir, store), { recursive: true, force: true });
    }
  }
  return trials
    .map((trial) => ({ trial, samples: samples.get(trial) ?? [] }))
    .filter((measured) => measured.samples.length > 0);
};

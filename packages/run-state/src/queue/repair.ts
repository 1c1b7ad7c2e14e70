import { z } from 'zod';
import type { Partition } from '../redis/partition.ts';
import { type Activation, Activations, Texts } from '../redis/reply.ts';
import { runScript } from '../redis/scripts.ts';

export interface Repaired {
  readonly timers: number;
  readonly leases: number;
  /** Runs taken from a dead owner. */
  readonly lost: number;
  /** Activations that had reached no worker. */
  readonly requeued: number;
  /** Runs parked by pressure (R9) that go on. */
  readonly relieved: number;
  /** Aborted runs without an owner, whose end is for the caller to write. */
  readonly unended: readonly string[];
  readonly activations: readonly Activation[];
}

const Counts = z
  .array(z.union([z.string(), z.number()]))
  .transform(
    (flat) =>
      new Map(flat.flatMap((name, i) => (i % 2 === 0 ? [[String(name), Number(flat[i + 1])] as const] : []))),
  );

/** One pass over timers, expired leases and lost activations (R10). Throws `state_unavailable`. */
export const repair = async (
  partition: Partition,
  options: { limit: number; graceMs: number },
): Promise<Repaired> => {
  const [counts, activations, unended] = z
    .tuple([Counts, Activations, Texts])
    .parse(await runScript(partition, 'repair', [options.limit, options.graceMs]));
  const count = (name: string): number => counts.get(name) ?? 0;
  return {
    timers: count('timers'),
    leases: count('leases'),
    lost: count('lost'),
    requeued: count('requeued'),
    relieved: count('relieved'),
    unended,
    activations,
  };
};

/** Wakes a parked run. False: no such run, or it has ended. */
export const wakeRun = async (
  partition: Partition,
  runId: string,
  reason: string,
): Promise<{ woken: boolean; activations: readonly Activation[] }> => {
  const [code, ...rest] = Texts.parse(await runScript(partition, 'wake', [runId, reason]));
  return { woken: code === 'OK', activations: Activations.parse(rest) };
};

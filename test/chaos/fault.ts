/**
 * A kind of fault: how it is done to a running world, undone, and how we know that it was really there. A fault that
 * never showed in the system proves nothing, so a run whose faults left no evidence fails.
 */
import type { World } from './world.ts';

/** Faults of one lane come one after the other, those of different lanes at the same time. */
export type Lane = 'stores' | 'workers' | 'services' | 'network';

export interface Injected {
  /** How long it stays. */
  readonly holdMs: number;
  heal(): Promise<void>;
  /** Looked for after the healing: what shows that it was there; null when nothing does. */
  exercised(): Promise<string | null>;
  /**
   * Ms from the fault (a lost process) or its healing (a store) until what it broke worked again. Default: from the
   * healing to the next commit.
   */
  recovered?(): Promise<number | null>;
  /** What the fault itself showed to be wrong. */
  breaches?(): readonly string[];
  /** What is wrong only if nothing else was broken meanwhile. */
  breachesAlone?(): readonly string[];
}

export interface Fault {
  readonly name: string;
  readonly lane: Lane;
  inject(world: World, random: () => number): Promise<Injected>;
}

export interface Strike {
  readonly fault: string;
  readonly lane: Lane;
  readonly at: number;
  readonly endedAt: number;
  readonly evidence: string | null;
  readonly recoveryMs: number | null;
  /** Nothing else was broken meanwhile. */
  readonly alone: boolean;
  readonly breaches: readonly string[];
}

export const between = (random: () => number, least: number, most: number): number =>
  least + random() * (most - least);

export const choose = <T>(random: () => number, from: readonly T[]): T => {
  const chosen = from[Math.floor(random() * from.length)];
  if (chosen === undefined) throw new Error('there is nothing to choose from');
  return chosen;
};

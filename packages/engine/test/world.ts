import fc from 'fast-check';

/** What may go wrong around a run, and how often (percent). Everything else is drawn from the seed. */
export interface World {
  readonly seed: number;
  readonly maxSteps: number;
  readonly timeoutSeconds: number;
  readonly fallbacks: number;
  /** The run waits for its `run_at` first. */
  readonly delayed: boolean;
  readonly toolTurns: number;
  /** Tool calls that repeat the one before. */
  readonly loops: number;
  readonly badAnswers: number;
  readonly failures: number;
  readonly losses: number;
  readonly handOvers: number;
  readonly denials: number;
  readonly aborts: number;
}

const percent = (max: number): fc.Arbitrary<number> => fc.oneof(fc.constant(0), fc.integer({ min: 0, max }));

/** Rates shrink to 0, so a failing property ends with the few troubles that matter. */
export const worlds: fc.Arbitrary<World> = fc.record({
  seed: fc.integer({ min: 0, max: 2 ** 31 }),
  maxSteps: fc.constantFrom(1, 3, 10, 30, 60),
  timeoutSeconds: fc.constantFrom(86_400, 600, 60, 5),
  fallbacks: fc.integer({ min: 0, max: 2 }),
  delayed: fc.boolean(),
  toolTurns: fc.oneof(percent(40), { arbitrary: fc.integer({ min: 40, max: 95 }), weight: 3 }),
  loops: fc.oneof(percent(100), fc.constant(95)),
  badAnswers: percent(60),
  failures: percent(60),
  losses: percent(20),
  handOvers: percent(25),
  denials: percent(30),
  aborts: percent(10),
});

export interface Dice {
  /** True in `percent` of 100 throws. */
  chance(percent: number): boolean;
  /** 0 to n-1. */
  below(n: number): number;
  pick<T>(items: readonly [T, ...T[]]): T;
  shuffled<T>(items: readonly T[]): T[];
}

/** mulberry32: small, seeded, the same on every machine. */
export const diceOf = (seed: number): Dice => {
  let state = seed >>> 0;
  const random = (): number => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
  const below = (n: number): number => Math.floor(random() * n);
  return {
    below,
    chance: (percent) => random() * 100 < percent,
    pick: (items) => items[below(items.length)] ?? items[0],
    shuffled: (items) =>
      items
        .map((item) => ({ item, at: random() }))
        .toSorted((a, b) => a.at - b.at)
        .map(({ item }) => item),
  };
};

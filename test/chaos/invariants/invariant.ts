/**
 * What must hold of a system that was broken in every way we know, and is at rest again. Each invariant says how many
 * facts it looked at: one that looked at none has shown nothing. What a loss of Redis takes by design (losses.ts) is
 * excused and counted.
 */
import type { Case } from '../case.ts';

export interface Verdict {
  readonly number: number;
  readonly name: string;
  readonly how: string;
  /** Facts looked at. */
  readonly checked: number;
  readonly violations: readonly string[];
  readonly note?: string;
}

export type Judgement = Omit<Verdict, 'number' | 'name' | 'how'>;

export interface Invariant {
  readonly name: string;
  readonly how: string;
  judge(all: Case): Judgement;
}

export const sum = (values: Iterable<number>): number => [...values].reduce((a, b) => a + b, 0);

/** What the checker of every end-to-end test found under these rules. */
export const violationsOf = ({ found }: Case, rules: readonly string[]): string[] =>
  found
    .filter(({ rule }) => rules.some((name) => rule.startsWith(name)))
    .map(({ rule, where, detail }) => `${where}: ${rule}: ${detail}`);

export const ruled =
  (rules: readonly string[], count: (all: Case) => number): Invariant['judge'] =>
  (all) => ({ checked: count(all), violations: violationsOf(all, rules) });

export const countRuns = ({ evidence }: Case): number => evidence.runs.length;
export const countEvents = ({ evidence }: Case): number => sum(evidence.runs.map(({ rows }) => rows.length));

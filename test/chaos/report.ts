/** What a chaos run did and what it found, as tables. */
import type { Exit } from '@signalbox/local';
import type { Strike } from './fault.ts';
import type { Verdict } from './invariants/index.ts';

export interface FaultLine {
  readonly fault: string;
  readonly count: number;
  readonly exercised: number;
  readonly evidence: string;
  readonly recoveries: readonly number[];
}

export interface Report {
  readonly seed: number;
  readonly seconds: number;
  readonly runs: number;
  readonly calls: number;
  readonly statuses: ReadonlyMap<string, number>;
  readonly faults: readonly FaultLine[];
  readonly verdicts: readonly Verdict[];
  /** Processes that ended and nobody had asked them to. */
  readonly unasked: readonly string[];
  /** Everything for which the run fails. */
  readonly failures: readonly string[];
}

export const faultLines = (strikes: readonly Strike[]): FaultLine[] =>
  [...Map.groupBy(strikes, ({ fault }) => fault)].map(([fault, list]) => ({
    fault,
    count: list.length,
    exercised: list.filter(({ evidence }) => evidence !== null).length,
    evidence: list.findLast(({ evidence }) => evidence !== null)?.evidence ?? 'NEVER EXERCISED',
    recoveries: list.flatMap(({ recoveryMs }) => recoveryMs ?? []).toSorted((a, b) => a - b),
  }));

export const failuresOf = (
  faults: readonly FaultLine[],
  strikes: readonly Strike[],
  verdicts: readonly Verdict[],
): string[] => [
  ...faults.filter(({ exercised }) => exercised === 0).map(({ fault }) => `${fault} was never exercised`),
  ...strikes.flatMap(({ breaches }) => breaches),
  ...verdicts.flatMap(({ number, name, violations }) =>
    violations.map((violation) => `invariant ${number}, ${name}: ${violation}`),
  ),
];

const MOST_SHOWN = 30;
const ms = (value: number | undefined): string => (value === undefined ? '-' : `${Math.round(value)} ms`);

const faultRow = ({ fault, count, exercised, evidence, recoveries }: FaultLine): string => {
  const half = ms(recoveries[Math.floor(recoveries.length / 2)]);
  const most = ms(recoveries.at(-1));
  const times = `recovery ${half}, at most ${most}`;
  return `  ${fault.padEnd(15)} ${`${count}, ${exercised} exercised`.padEnd(16)} ${times.padEnd(36)} ${evidence}`;
};

const verdictRow = ({ number, name, how, checked, violations, note }: Verdict): string => {
  const told = `${checked} facts, ${violations.length} violations`;
  const line = `  ${String(number).padStart(2)} ${name.padEnd(48)} ${told.padEnd(28)} ${how}`;
  return note === undefined ? line : `${line}\n     ${note}`;
};

export const reportText = (report: Report): string => {
  const { seed, seconds, runs, calls, statuses, faults, verdicts, unasked, failures } = report;
  const ended = [...statuses].map(([status, count]) => `${count} ${status}`).join(', ');
  return [
    `chaos: seed ${seed}, ${seconds} s, ${runs} runs (${ended}), ${calls} model calls`,
    'faults',
    ...faults.map(faultRow),
    'invariants',
    ...verdicts.map(verdictRow),
    '     approvals and children (parts of 14 and 17): not there yet',
    ...(unasked.length > 0
      ? ['processes that ended by themselves', ...unasked.map((one) => `  ${one}`)]
      : []),
    failures.length === 0 ? `seed ${seed}: everything holds` : `seed ${seed}: ${failures.length} FAILURES`,
    ...failures.slice(0, MOST_SHOWN).map((failure) => `  ${failure}`),
  ].join('\n');
};

export const unaskedEnds = (name: string, ends: readonly (Exit & { readonly asked: boolean })[]): string[] =>
  ends
    .filter(({ asked }) => !asked)
    .map(
      ({ code, signal }) =>
        `${name}: ${signal ?? (code === null ? 'did not become ready' : `exit code ${code}`)}`,
    );

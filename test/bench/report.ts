/** The result as markdown, and as JSON with every sample. */
import type { ProfileTop } from './cpu-profile.ts';
import type { Measured } from './run-bench.ts';
import { type Spread, spreadOf } from './statistics.ts';

export interface Circumstances {
  readonly at: string;
  readonly machine: string;
  readonly settings: string;
}

export interface BenchResult {
  readonly circumstances: Circumstances;
  /** Title by name of the work. */
  readonly titles: ReadonlyMap<string, string>;
  readonly measured: readonly Measured[];
}

const number = (value: number): string => {
  if (Math.abs(value) >= 100) return Math.round(value).toLocaleString('en');
  return String(Number(value.toPrecision(3)));
};

const cell = ({ median, least, most }: Spread): string =>
  least === most ? number(median) : `${number(median)} (${number(least)} to ${number(most)})`;

const keysOf = (records: readonly Readonly<Record<string, unknown>>[]): string[] => [
  ...new Set(records.flatMap((record) => Object.keys(record))),
];

const spreadsOf = (records: readonly Readonly<Record<string, number>>[]): Map<string, Spread> =>
  new Map(
    keysOf(records).map((key) => [
      key,
      spreadOf(records.flatMap((record) => (record[key] === undefined ? [] : [record[key]]))),
    ]),
  );

const table = (measured: readonly Measured[]): string[] => {
  const columns = keysOf(measured.flatMap(({ samples }) => samples.map(({ figures }) => figures)));
  return [
    `| | ${columns.join(' | ')} |`,
    `|---|${columns.map(() => '---:|').join('')}`,
    ...measured.map(({ trial, samples }) => {
      const spreads = spreadsOf(samples.map(({ figures }) => figures));
      const cells = columns.map((column) => {
        const spread = spreads.get(column);
        return spread === undefined ? '' : cell(spread);
      });
      return `| ${trial.subject} | ${cells.join(' | ')} |`;
    }),
  ];
};

/** Where the processor time went: medians. */
const parts = ({ trial, samples }: Measured): string[] => {
  const spreads = spreadsOf(samples.flatMap(({ cpuParts }) => (cpuParts === undefined ? [] : [cpuParts])));
  if (spreads.size === 0) return [];
  const shown = [...spreads].map(([name, { median }]) => `${name} ${number(median)}`);
  return [`- ${trial.subject}, CPU ms/run: ${shown.join(', ')}`];
};

const profile = (service: string, { busyMs, self, total }: ProfileTop): string[] =>
  (['self', 'total'] as const).flatMap((kind) => [
    `\n${service}, ${kind} time, of ${number(busyMs)} ms busy:\n`,
    ...(kind === 'self' ? self : total).map(
      ({ name, ms, share }) =>
        `    ${(share * 100).toFixed(1).padStart(5)} %  ${number(ms).padStart(8)} ms  ${name}`,
    ),
  ]);

/** Of the last repetition: profiles cannot be averaged. */
const profiles = ({ trial, samples }: Measured): string[] => {
  const last = samples.at(-1)?.profiles;
  if (last === undefined) return [];
  return [
    `\n### Profiles of ${trial.subject}, ${trial.work}`,
    ...Object.entries(last).flatMap(([service, top]) => profile(service, top)),
  ];
};

export const toMarkdown = ({ circumstances, titles, measured }: BenchResult): string => {
  const works = Map.groupBy(measured, ({ trial }) => trial.work);
  return [
    '# Measured',
    '',
    `${circumstances.at}; ${circumstances.machine}; ${circumstances.settings}. Medians, in parentheses the least and the most.`,
    ...[...works].flatMap(([work, list]) => [
      `\n## ${work}: ${titles.get(work) ?? ''}\n`,
      ...table(list),
      '',
      ...list.flatMap(parts),
      ...list.flatMap(profiles),
    ]),
    '',
  ].join('\n');
};

export const toJson = ({ circumstances, titles, measured }: BenchResult): string =>
  JSON.stringify(
    {
      ...circumstances,
      measured: measured.map(({ trial: { work, subject }, samples }) => ({
        work,
        title: titles.get(work),
        subject,
        spreads: Object.fromEntries(spreadsOf(samples.map(({ figures }) => figures))),
        samples,
      })),
    },
    null,
    2,
  );

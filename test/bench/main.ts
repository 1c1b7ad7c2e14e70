/**
 * `npm run bench`: how fast Signalbox is and what a run costs, beside the raw parts on the same machine in the same hour.
 *   npm run bench                                                every work, three times in alternation
 *   npm run bench -- --only W5 --seconds 75 --repetitions 5      one work, longer
 *   npm run bench -- --only W5 --subject Signalbox --profile     where our services spend their time
 *   npm run bench -- --appendfsync always                        every Redis waits for the disk (default everysec)
 * Result: .signalbox/bench/result.md and result.json. On a shared machine only the relation of figures means something.
 */
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { availableParallelism, cpus, loadavg, totalmem } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { REPOSITORY } from '@signalbox/local';
import { toJson, toMarkdown } from './report.ts';
import { runBench } from './run-bench.ts';
import { WORKS } from './works.ts';

const { values } = parseArgs({
  options: {
    only: { type: 'string', default: WORKS.map(({ name }) => name).join() },
    subject: { type: 'string', default: '' },
    seconds: { type: 'string', default: '20' },
    repetitions: { type: 'string', default: '3' },
    appendfsync: { type: 'string', default: 'everysec' },
    profile: { type: 'boolean', default: false },
  },
});

const numberOf = (name: 'seconds' | 'repetitions'): number => {
  const value = Number(values[name]);
  if (!Number.isInteger(value) || value < 1)
    throw new Error(`--${name} ${values[name]} is not a whole number above 0.`);
  return value;
};

const [seconds, repetitions] = [numberOf('seconds'), numberOf('repetitions')];
const { appendfsync, profile } = values;
if (appendfsync !== 'everysec' && appendfsync !== 'always')
  throw new Error(`--appendfsync ${appendfsync} is neither everysec nor always.`);

const wanted = values.only.split(',');
const unknown = wanted.filter((name) => !WORKS.some((work) => work.name === name));
if (unknown.length > 0)
  throw new Error(
    `There is no work ${unknown.join(', ')}; there are ${WORKS.map(({ name }) => name).join(', ')}.`,
  );
const works = WORKS.filter(({ name }) => wanted.includes(name));
const trials = works
  .flatMap((work) => work.trials)
  .filter(({ subject }) => subject.toLowerCase().includes(values.subject.toLowerCase()));
if (trials.length === 0) throw new Error(`No subject of ${values.only} has ${values.subject} in its name.`);

const dir = join(REPOSITORY, '.signalbox', 'bench');
await rm(dir, { recursive: true, force: true });
await mkdir(dir, { recursive: true });
const load = loadavg()[0]?.toFixed(1);
const measured = await runBench({
  trials,
  repetitions,
  dir,
  context: { until: { seconds }, appendfsync, profile },
  onFailure: ({ work, subject }, error) => {
    console.error(`${work} ${subject} could not be measured:`, error);
    process.exitCode = 1;
  },
  onSample: ({ work, subject }, repetition, { figures }) => {
    const shown = Object.entries(figures).map(([name, value]) => `${name} ${value.toPrecision(4)}`);
    console.log(`${repetition + 1}/${repetitions} ${work} ${subject}: ${shown.join(', ')}`);
  },
});
const result = {
  circumstances: {
    at: new Date().toISOString(),
    machine: `${availableParallelism()} cores (${cpus()[0]?.model.trim() ?? 'unknown'}), ${Math.round(totalmem() / 2 ** 30)} GB, Node ${process.version}, load before ${load}`,
    settings: `${repetitions} x ${seconds} s each, appendfsync ${appendfsync}${profile ? ', profiled' : ''}`,
  },
  titles: new Map(works.map(({ name, title }) => [name, title])),
  measured,
};
const markdown = toMarkdown(result);
await writeFile(join(dir, 'result.md'), markdown);
await writeFile(join(dir, 'result.json'), toJson(result));
console.log(`\n${markdown}\nWritten to ${join(dir, 'result.md')} and result.json.`);

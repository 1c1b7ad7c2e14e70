/**
 * `npm run chaos`: breaks a whole Signalbox on this machine, and checks that nothing was lost or doubled.
 *   npm run chaos -- --seconds 60 --seed 7                    every kind of fault, then random ones until the time is over
 *   npm run chaos -- --seed 7 --faults redis-kill,net-hole    these only
 * Data and logs stay in .signalbox/chaos. Exit code 1 if an invariant does not hold or a fault was never exercised.
 */
import { rm } from 'node:fs/promises';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { REPOSITORY } from '@signalbox/local';
import { FAULTS } from './faults/index.ts';
import { reportText } from './report.ts';
import { runChaos } from './run-chaos.ts';

const LANES = 24;

const print = (line: string): void => void process.stdout.write(`${line}\n`);

const { values } = parseArgs({
  options: {
    seconds: { type: 'string', default: '60' },
    seed: { type: 'string', default: String(Math.floor(Math.random() * 1_000_000)) },
    faults: { type: 'string', default: FAULTS.map(({ name }) => name).join() },
  },
});

const numberOf = (name: 'seconds' | 'seed'): number => {
  const value = Number(values[name]);
  if (!Number.isInteger(value) || value < 0)
    throw new Error(`--${name} ${values[name]} is not a whole number.`);
  return value;
};

const wanted = values.faults.split(',');
const unknown = wanted.filter((name) => !FAULTS.some((fault) => fault.name === name));
if (unknown.length > 0)
  throw new Error(
    `There is no fault ${unknown.join(', ')}; there are ${FAULTS.map(({ name }) => name).join(', ')}.`,
  );

const seed = numberOf('seed');
const dir = join(REPOSITORY, '.signalbox', 'chaos');
await rm(dir, { recursive: true, force: true });
print(`chaos: seed ${seed}, logs in ${join(dir, 'logs')}`);
const startedAt = performance.now();
const report = await runChaos({
  seed,
  seconds: numberOf('seconds'),
  lanes: LANES,
  faults: FAULTS.filter(({ name }) => wanted.includes(name)),
  dir,
  onProgress: (line) =>
    print(`${((performance.now() - startedAt) / 1000).toFixed(1).padStart(6)} s  ${line}`),
});
print(reportText(report));
process.exitCode = report.failures.length === 0 ? 0 : 1;

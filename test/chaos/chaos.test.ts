/**
 * Everything at once: two of every service and four workers run paid work while every kind of fault is done to them,
 * at least once and with evidence; then nothing is lost and nothing is doubled (promise 3). Full size: 20 seeds, a
 * minute each.
 */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { temporaryDir } from '@signalbox/local';
import { FULL } from '../e2e/stack.ts';
import { FAULTS } from './faults/index.ts';
import { type Report, reportText } from './report.ts';
import { runChaos } from './run-chaos.ts';

const SEEDS = FULL ? Array.from({ length: 20 }, (_, n) => n + 1) : [1];
const SECONDS = FULL ? 60 : 20;
/** Enough for every fault to meet work; more of them only fill a small machine. */
const LANES = FULL ? 24 : 16;

const print = (line: string): void => void process.stdout.write(`${line}\n`);

const sum = (values: readonly number[]): number => values.reduce((a, b) => a + b, 0);

const summary = ({ seed, seconds, runs, calls, faults, verdicts, failures }: Report): string => {
  const strikes = `${sum(faults.map(({ exercised }) => exercised))} of ${sum(faults.map(({ count }) => count))}`;
  const facts = sum(verdicts.map(({ checked }) => checked));
  return `seed ${seed}: ${seconds} s, ${runs} runs, ${calls} calls, ${strikes} faults exercised, ${facts} facts, ${failures.length} failures`;
};

const summaries: string[] = [];

for (const seed of SEEDS) {
  test(`chaos, seed ${seed}: every fault, nothing lost, nothing doubled`, async () => {
    const dir = await temporaryDir();
    const report = await runChaos({
      seed,
      seconds: SECONDS,
      faults: FAULTS,
      lanes: LANES,
      dir,
      onProgress: print,
    });
    print(reportText(report));
    summaries.push(summary(report));
    assert.deepEqual(report.failures, []);
    assert.equal(report.faults.length, FAULTS.length);
    if (seed === SEEDS.at(-1)) print(summaries.join('\n'));
  });
}

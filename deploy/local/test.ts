/**
 * `npm test`: lint, types, format, then every test file, against one Redis and one Postgres.
 *   node deploy/local/test.ts                 everything
 *   node deploy/local/test.ts packages/engine only test files whose path contains this (and no lint, types, format)
 *   node deploy/local/test.ts --full          the long proofs at full size (tests see PROVE=full)
 * The last line is `N passed, N failed`; exit code 1 if any failed.
 *
 * A file or two that failed beside others run once more, alone: tests of processes on a machine that somebody else uses
 * fail now and then for want of time, and a run that is lost for that teaches to ignore failures. What it says then
 * counts, its first failure stays in the output, and it is named at the end as `flaky: FILE`: to be mended, not to be
 * believed. A file that proves a promise (money, fencing, loss, kills) has to pass twice in a row then: a race of ours
 * may show as a rare failure there, so its name at the end is a finding, whatever it said when it ran again. Never so
 * with --full or with a filter, nor when more files fail, which is no accident.
 */
import { parseArgs } from 'node:util';
import { COMPILE_CACHE } from './src/child.ts';
import { REPOSITORY } from './src/process.ts';
import { staticChecks } from './src/static-checks.ts';
import { type Batch, planTests, provesAPromise } from './src/test-files.ts';
import { addTallies, type FileReport, runTestFiles, type Tally } from './src/test-report.ts';
import { newRunId, openTestRun, type TestRun } from './src/test-databases.ts';
import { testDatabaseUrl, testRedisUrl } from './src/test-services.ts';

const MOST_FLAKY = 2;
const MINUTE = 60_000;

const { values, positionals: filters } = parseArgs({
  options: { full: { type: 'boolean', default: false } },
  allowPositionals: true,
});
if (values.full) process.env['PROVE'] = 'full';
process.env['NODE_COMPILE_CACHE'] ??= COMPILE_CACHE;
const limitMs = values.full ? 60 * MINUTE : 10 * MINUTE;
/** Processes of test files at a time. Most of what they do is wait; at full size each keeps the machine busy. */
const AT_ONCE = values.full ? { together: 2, last: 1 } : { together: 3, last: 2 };

/** Test files run in processes of their own, which a signal to this one does not reach. */
const stopping = new AbortController();
for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => stopping.abort());

const seconds = (ms: number): string => `${(ms / 1000).toFixed(1)} s`;
const indent = (text: string): string => text.replaceAll(/^/gm, '    ');

async function runChecks(): Promise<Tally> {
  const reports = await staticChecks(REPOSITORY);
  for (const { name, passed, output, ms } of reports) {
    console.log(`${passed ? 'ok  ' : 'FAIL'} ${name} (${seconds(ms)})`);
    if (!passed) console.log(indent(output));
  }
  const passed = reports.filter((report) => report.passed).length;
  return { passed, failed: reports.length - passed, skipped: 0 };
}

function printFile(report: FileReport): void {
  const { file, passed, failed, skipped, failures, output, ms } = report;
  const counts = [`${passed} passed`, failed > 0 && `${failed} failed`, skipped > 0 && `${skipped} skipped`];
  console.log(
    `${failed > 0 ? 'FAIL' : 'ok  '} ${file} (${counts.filter(Boolean).join(', ')}, ${seconds(ms)})`,
  );
  for (const failure of failures) console.log(`\n${indent(failure)}`);
  // The figures of a proof are its result.
  const shown = (failed > 0 || file.startsWith('test/')) && output.trim() !== '';
  if (shown) console.log(`\n    output of ${file}:\n${indent(output.trim().slice(-10_000))}`);
  if (shown || failed > 0) console.log('');
}

/** Files that may run once more; see above. */
function secondChances(reports: readonly FileReport[]): string[] {
  const failed = reports.filter((report) => report.failed > 0).map(({ file }) => file);
  const isExcluded =
    stopping.signal.aborted || values.full || filters.length > 0 || failed.length > MOST_FLAKY;
  return isExcluded ? [] : failed;
}

/** Each alone; of one that runs twice the first failure counts, else the last pass. */
async function runAgain(files: readonly string[]): Promise<FileReport[]> {
  const alone = (some: readonly string[]): Promise<FileReport[]> =>
    runBatches(
      some.map((file) => [file]),
      1,
    );
  const first = await alone(files);
  const passed = first.filter(({ failed }) => failed === 0).map(({ file }) => file);
  const second = await alone(passed.filter(provesAPromise));
  const repeated = new Set(second.map(({ file }) => file));
  return [...first.filter(({ file }) => !repeated.has(file)), ...second];
}

async function runBatches(batches: readonly Batch[], atOnce: number): Promise<FileReport[]> {
  const waiting = [...batches];
  const reports: FileReport[] = [];
  const lane = async (): Promise<void> => {
    for (let batch = waiting.shift(); batch !== undefined; batch = waiting.shift()) {
      if (stopping.signal.aborted) return;
      const made = await runTestFiles(REPOSITORY, batch, { limitMs, stopping: stopping.signal });
      for (const report of made) printFile(report);
      reports.push(...made);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  return reports;
}

async function runPlan({ together, last }: ReturnType<typeof planTests>) {
  const beside = await runBatches(together, AT_ONCE.together);
  const first = [...beside, ...(await runBatches(last, AT_ONCE.last))];
  const again = secondChances(first);
  if (again.length > 0) console.log(`\nonce more, alone: ${again.join(', ')}`);
  return { first, again, second: await runAgain(again) };
}

/** The servers that REDIS_URL and DATABASE_URL name, else own ones; only TEST_* reaches the tests. Null: own ones go as they are. */
async function provideServers(): Promise<TestRun | null> {
  const { REDIS_URL, DATABASE_URL, TEST_REDIS_URL, TEST_DATABASE_URL } = process.env;
  const givenUrl = TEST_DATABASE_URL || DATABASE_URL;
  const [redisUrl, databaseUrl] = await Promise.all([
    TEST_REDIS_URL || REDIS_URL || testRedisUrl(),
    givenUrl || testDatabaseUrl(),
  ]);
  process.env['TEST_REDIS_URL'] = redisUrl;
  process.env['TEST_DATABASE_URL'] = databaseUrl;
  const run = (process.env['TEST_RUN'] = newRunId());
  delete process.env['REDIS_URL'];
  delete process.env['DATABASE_URL'];
  return givenUrl ? openTestRun(givenUrl, run) : null;
}

/** What the tests made on a server of the user goes with them. */
async function withServers<T>(run: TestRun | null, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } finally {
    await run?.close();
  }
}

async function main(): Promise<void> {
  const started = performance.now();
  const plan = planTests(REPOSITORY, filters);
  if (filters.length > 0 && plan.together.length + plan.last.length === 0) {
    throw new Error(`No test file's path contains ${filters.join(' or ')}.`);
  }
  const [checks, run] = await Promise.all([
    filters.length === 0 ? runChecks() : { passed: 0, failed: 0, skipped: 0 },
    provideServers(),
  ]);
  const { first, again, second } = await withServers(run, () => runPlan(plan));
  const reports = [...first.filter(({ file }) => !again.includes(file)), ...second];
  const total = addTallies([checks, ...reports]);

  const failedFiles = reports.filter((report) => report.failed > 0).map((report) => report.file);
  console.log(`\n${reports.length} test files in ${seconds(performance.now() - started)}`);
  if (total.skipped > 0) console.log(`${total.skipped} skipped`);
  for (const { file, failed } of second) if (failed === 0) console.log(`flaky: ${file}`);
  for (const file of failedFiles) console.log(`failed: ${file}`);
  console.log(`${total.passed} passed, ${total.failed} failed`);
  process.exitCode = total.failed > 0 || stopping.signal.aborted ? 1 : 0;
}

try {
  await main();
} catch (error) {
  console.error(error);
  console.log('0 passed, 1 failed');
  process.exitCode = 1;
}

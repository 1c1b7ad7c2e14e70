/**
 * `npm test`: lint, types, format, then every test file, against one Redis and one Postgres.
 *   node deploy/local/test.ts                 everything
 *   node deploy/local/test.ts packages/engine only test files whose path contains this (and no lint, types, format)
 *   node deploy/local/test.ts --full          the long proofs at full size (tests see PROVE=full)
 * The last line is `N passed, N failed`; exit code 1 if any failed.
 */
import { parseArgs } from 'node:util';
import { REPOSITORY } from './src/process.ts';
import { staticChecks } from './src/static-checks.ts';
import { planTests } from './src/test-files.ts';
import { addTallies, type FileReport, runTestFile, type Tally } from './src/test-report.ts';
import { testDatabaseUrl, testRedisUrl } from './src/test-services.ts';

const PARALLEL = 2;
const MINUTE = 60_000;

const { values, positionals: filters } = parseArgs({
  options: { full: { type: 'boolean', default: false } },
  allowPositionals: true,
});
if (values.full) process.env['PROVE'] = 'full';
const limitMs = values.full ? 60 * MINUTE : 5 * MINUTE;

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
  if (failed === 0) return;
  for (const failure of failures) console.log(`\n${indent(failure)}`);
  if (output.trim() !== '') console.log(`\n    output of ${file}:\n${indent(output.trim().slice(-10_000))}`);
  console.log('');
}

async function runFiles(files: readonly string[], atOnce: number): Promise<FileReport[]> {
  const waiting = [...files];
  const reports: FileReport[] = [];
  const lane = async (): Promise<void> => {
    for (let file = waiting.shift(); file !== undefined; file = waiting.shift()) {
      const report = await runTestFile(REPOSITORY, file, limitMs);
      printFile(report);
      reports.push(report);
    }
  };
  await Promise.all(Array.from({ length: atOnce }, lane));
  return reports;
}

/** The servers that REDIS_URL and DATABASE_URL name, else own ones; only TEST_* reaches the tests. */
async function provideServers(): Promise<void> {
  const { REDIS_URL, DATABASE_URL, TEST_REDIS_URL, TEST_DATABASE_URL } = process.env;
  const [redisUrl, databaseUrl] = await Promise.all([
    TEST_REDIS_URL || REDIS_URL || testRedisUrl(),
    TEST_DATABASE_URL || DATABASE_URL || testDatabaseUrl(),
  ]);
  process.env['TEST_REDIS_URL'] = redisUrl;
  process.env['TEST_DATABASE_URL'] = databaseUrl;
  delete process.env['REDIS_URL'];
  delete process.env['DATABASE_URL'];
}

async function main(): Promise<void> {
  const started = performance.now();
  const plan = planTests(REPOSITORY, filters);
  if (filters.length > 0 && plan.parallel.length + plan.serial.length === 0) {
    throw new Error(`No test file's path contains ${filters.join(' or ')}.`);
  }
  const [checks] = await Promise.all([
    filters.length === 0 ? runChecks() : { passed: 0, failed: 0, skipped: 0 },
    provideServers(),
  ]);
  const parallel = await runFiles(plan.parallel, PARALLEL);
  const serial = await runFiles(plan.serial, 1);
  const reports = [...parallel, ...serial];
  const total = addTallies([checks, ...reports]);

  const failedFiles = reports.filter((report) => report.failed > 0).map((report) => report.file);
  console.log(`\n${reports.length} test files in ${seconds(performance.now() - started)}`);
  if (total.skipped > 0) console.log(`${total.skipped} skipped`);
  for (const file of failedFiles) console.log(`failed: ${file}`);
  console.log(`${total.passed} passed, ${total.failed} failed`);
  process.exitCode = total.failed > 0 ? 1 : 0;
}

try {
  await main();
} catch (error) {
  console.error(error);
  console.log('0 passed, 1 failed');
  process.exitCode = 1;
}

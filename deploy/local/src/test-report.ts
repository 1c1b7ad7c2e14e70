/** Runs one test file in its own process and turns what node:test reports into a verdict and readable failures. */
import { join } from 'node:path';
import { run } from 'node:test';
import { inspect } from 'node:util';
import { once } from 'node:events';

export interface Tally {
  readonly passed: number;
  readonly failed: number;
  readonly skipped: number;
}

export interface FileReport extends Tally {
  readonly file: string;
  readonly ms: number;
  /** One text per failed test: its path of names, where it is, what went wrong. */
  readonly failures: readonly string[];
  /** What the file wrote to stdout and stderr. */
  readonly output: string;
}

export const addTallies = (tallies: readonly Tally[]): Tally => ({
  passed: tallies.reduce((sum, tally) => sum + tally.passed, 0),
  failed: tallies.reduce((sum, tally) => sum + tally.failed, 0),
  skipped: tallies.reduce((sum, tally) => sum + tally.skipped, 0),
});

const failureType = (error: Error): unknown => ('failureType' in error ? error.failureType : undefined);

function describe(names: readonly string[], at: string, error: Error): string {
  const cause = error.cause ?? error;
  const text = typeof cause === 'string' ? cause : inspect(cause, { colors: process.stdout.isTTY, depth: 6 });
  return `${names.join(' > ')}\n  at ${at}\n${text.replaceAll(/^/gm, '  ')}`;
}

/**
 * A file that does not end within the limit fails: something in it hangs, or it left a connection open. Its process
 * is ended then, and when `stopping` aborts: it would go on without us.
 * Skipped tests count as neither passed nor failed; suites do not count, failed subtests and their test do.
 */
export async function runTestFile(
  root: string,
  file: string,
  { limitMs, stopping }: { readonly limitMs: number; readonly stopping: AbortSignal },
): Promise<FileReport> {
  const started = performance.now();
  const limit = AbortSignal.any([AbortSignal.timeout(limitMs), stopping]);
  const stream = run({ files: [join(root, file)], isolation: 'process', concurrency: 1, signal: limit });
  const names: string[] = [];
  const failures: string[] = [];
  let output = '';
  let tally: Tally = { passed: 0, failed: 0, skipped: 0 };
  stream.on('test:start', ({ name, nesting }) => {
    names.length = nesting;
    names.push(name);
  });
  stream.on('test:fail', ({ name, nesting, details, line }) => {
    // The subtests that failed are reported themselves.
    if (failureType(details.error) === 'subtestsFailed') return;
    const path = [...names.slice(0, nesting), name === join(root, file) ? 'the file itself' : name];
    failures.push(describe(path, line === undefined ? file : `${file}:${line}`, details.error));
  });
  stream.on('test:stdout', ({ message }) => void (output += message));
  stream.on('test:stderr', ({ message }) => void (output += message));
  stream.on('test:summary', ({ file: of, counts }) => {
    if (of !== undefined) return; // the sum over the run comes last, without a file
    tally = {
      passed: counts.passed,
      failed: counts.tests - counts.passed - counts.skipped - counts.todo, // with the cancelled ones
      skipped: counts.skipped + counts.todo,
    };
  });
  stream.resume();
  await once(stream, 'end');
  if (limit.aborted) {
    failures.push(
      stopping.aborted
        ? 'told to stop'
        : `the file did not end within ${limitMs / 1000} s: a test hangs or left something open`,
    );
    tally = { ...tally, failed: Math.max(tally.failed, 1) };
  }
  return { ...tally, file, ms: performance.now() - started, failures, output };
}

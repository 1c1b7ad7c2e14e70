/** Runs test files in a process of their own and turns what node:test reports into verdicts and readable failures. */
import { join } from 'node:path';
import { type EventData, run, type TestsStream } from 'node:test';
import { inspect } from 'node:util';
import { once } from 'node:events';
import { fileURLToPath } from 'node:url';

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
  /** What its process wrote to stdout and stderr. */
  readonly output: string;
}

export const addTallies = (tallies: readonly Tally[]): Tally => ({
  passed: tallies.reduce((sum, tally) => sum + tally.passed, 0),
  failed: tallies.reduce((sum, tally) => sum + tally.failed, 0),
  skipped: tallies.reduce((sum, tally) => sum + tally.skipped, 0),
});

const PROCESS = fileURLToPath(new URL('test-process.ts', import.meta.url));

const failureType = (error: Error): unknown => ('failureType' in error ? error.failureType : undefined);

function howEnded(error: Error): string {
  const signal = 'signal' in error && typeof error.signal === 'string' ? error.signal : undefined;
  const code = 'exitCode' in error ? `exit code ${String(error.exitCode)}` : error.message;
  return `its process ended before it did: ${signal ?? code}`;
}

function describe(names: readonly string[], at: string, error: Error): string {
  const cause = error.cause ?? error;
  const text = typeof cause === 'string' ? cause : inspect(cause, { colors: process.stdout.isTTY, depth: 6 });
  return `${names.join(' > ')}\n  at ${at}\n${text.replaceAll(/^/gm, '  ')}`;
}

/** What is known of a file while its process runs. */
class Progress {
  readonly file: string;
  readonly failures: string[] = [];
  readonly #names: string[] = [];
  readonly #counts = { passed: 0, failed: 0, skipped: 0 };
  #ms: number | null = null;

  constructor(file: string) {
    this.file = file;
  }

  get ended(): boolean {
    return this.#ms !== null;
  }

  start({ name, nesting }: EventData.TestStart): void {
    this.#names.length = nesting;
    this.#names.push(name);
  }

  /** Skipped tests count as neither passed nor failed; suites do not count, failed subtests and their test do. */
  count(verdict: 'passed' | 'failed', { nesting, details, skip, todo }: EventData.TestPass): void {
    if (nesting === 0) this.#ms = details.duration_ms;
    else if (details.type !== 'suite')
      this.#counts[skip === undefined && todo === undefined ? verdict : 'skipped'] += 1;
  }

  fail({ name, nesting, details, line }: EventData.TestFail): void {
    // The subtests that failed are reported themselves.
    if (failureType(details.error) === 'subtestsFailed') return;
    const path = nesting === 0 ? ['the file itself'] : [...this.#names.slice(1, nesting), name];
    const at = nesting === 0 || line === undefined ? this.file : `${this.file}:${line}`;
    this.failures.push(describe(path, at, details.error));
  }

  report(output: string): FileReport {
    const failed = Math.max(this.#counts.failed, this.failures.length > 0 ? 1 : 0);
    const { file, failures } = this;
    return { ...this.#counts, failed, file, ms: this.#ms ?? 0, failures, output };
  }
}

interface Outcome {
  readonly output: string;
  /** Of the process itself. */
  readonly failure: string | undefined;
}

/** Each file is a test at the top, of its path; what else is at the top is the process. */
async function follow(stream: TestsStream, files: ReadonlyMap<string, Progress>): Promise<Outcome> {
  let current: Progress | undefined;
  let output = '';
  let failure: string | undefined;
  stream.on('test:start', (event) => {
    if (event.nesting === 0) current = files.get(event.name);
    current?.start(event);
  });
  stream.on('test:pass', (event) => current?.count('passed', event));
  stream.on('test:fail', (event) => {
    if (event.nesting === 0 && !files.has(event.name)) {
      failure = howEnded(event.details.error);
      return;
    }
    current?.count('failed', event);
    current?.fail(event);
  });
  stream.on('test:stdout', ({ message }) => void (output += message));
  stream.on('test:stderr', ({ message }) => void (output += message));
  stream.resume();
  await once(stream, 'end');
  return { output, failure };
}

interface RunOptions {
  readonly limitMs: number;
  readonly stopping: AbortSignal;
}

/**
 * One after the other in one process. One that does not end within the limit fails: something in it hangs, or it left
 * a connection open. Its process is ended then, and when `stopping` aborts: it would go on without us.
 * What a process that ended in mid course knew of its files is lost with it: those without a verdict run alone.
 */
export async function runTestFiles(
  root: string,
  files: readonly string[],
  options: RunOptions,
): Promise<FileReport[]> {
  const { limitMs, stopping } = options;
  const limit = AbortSignal.any([AbortSignal.timeout(limitMs), stopping]);
  const all = files.map((file) => new Progress(file));
  const byPath = new Map(all.map((each) => [join(root, each.file), each]));
  const stream = run({ files: [PROCESS], argv: [...byPath.keys()], isolation: 'process', signal: limit });
  const { output, failure } = await follow(stream, byPath);
  const why = stopping.aborted
    ? 'told to stop'
    : limit.aborted
      ? `its process did not end within ${limitMs / 1000} s: a test hangs or left something open`
      : failure;
  const open = all.filter(({ ended }) => !ended);
  const ended = all.filter((each) => each.ended);
  if (why !== undefined || open.length > 0)
    for (const each of open.length > 0 ? open : ended)
      each.failures.push(why ?? 'its process ended before it did');
  const isFinal = stopping.aborted || files.length === 1;
  return [
    ...ended.map((each) => each.report(output)),
    ...(isFinal
      ? open.map((each) => each.report(output))
      : await eachAlone(root, open, { ...options, output })),
  ];
}

/** If none fails alone, what ended the process they shared is nobody's, and they all have failed with its last words. */
async function eachAlone(
  root: string,
  open: readonly Progress[],
  { output, ...options }: RunOptions & { readonly output: string },
): Promise<FileReport[]> {
  const reports: FileReport[] = [];
  for (const { file } of open) reports.push(...(await runTestFiles(root, [file], options)));
  return reports.some(({ failed }) => failed > 0) ? reports : open.map((each) => each.report(output));
}

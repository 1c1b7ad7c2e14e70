import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'node:test';
import { promisify } from 'node:util';
import type { FileReport } from './test-report.ts';
import { temporaryDir } from './test-services.ts';

const HEAD = `import assert from 'node:assert/strict'; import { after, test } from 'node:test';`;
const PASSES = `${HEAD} test('passes', () => {});`;
const FAILS = `${HEAD} test('passes', () => {}); test.skip('later', () => {}); test('outer', async (t) => {
  await t.test('inner', () => assert.equal(1, 2));
});`;
const ENDS = `${HEAD} test('passes', () => {}); test('ends', () => process.exit(3));`;
const HANGS = `${HEAD} setInterval(() => {}, 1000); test('passes', () => {});`;

/** In a process of its own: node:test runs no files while it runs a test. */
const PROGRAM = `
  import { runTestFiles } from ${JSON.stringify(new URL('test-report.ts', import.meta.url).href)};
  const [dir, limitMs, ...files] = process.argv.slice(2);
  const stopping = new AbortController().signal;
  console.log(JSON.stringify(await runTestFiles(dir, files, { limitMs: Number(limitMs), stopping })));`;

const runAll = async (texts: Readonly<Record<string, string>>, limitMs: number): Promise<FileReport[]> => {
  const dir = join(await temporaryDir(), 'test');
  mkdirSync(dir);
  for (const [name, text] of Object.entries(texts)) writeFileSync(join(dir, name), text);
  const files = Object.keys(texts).filter((name) => name !== 'support.ts');
  const { NODE_TEST_CONTEXT: _, ...env } = process.env;
  const program = join(dir, '..', 'program.mjs');
  writeFileSync(program, PROGRAM);
  const args = [program, dir, String(limitMs), ...files];
  const { stdout } = await promisify(execFile)(process.execPath, args, { env });
  return JSON.parse(stdout) as FileReport[];
};

const LONG_MS = 60_000;

test('files in one process have verdicts of their own; one that ends it fails alone', async () => {
  const texts = { 'a.ts': PASSES, 'b.ts': FAILS, 'c.ts': 'throw new Error("at once")', 'd.ts': ENDS };
  const reports = await runAll({ ...texts, 'e.ts': PASSES, 'f.ts': FAILS }, LONG_MS);
  assert.deepEqual(
    reports.map(({ file, passed, failed, skipped }) => [file, passed, failed, skipped]),
    [
      ['a.ts', 1, 0, 0],
      ['b.ts', 1, 2, 1],
      ['c.ts', 0, 1, 0],
      ['d.ts', 0, 1, 0],
      ['e.ts', 1, 0, 0],
      ['f.ts', 1, 2, 1],
    ],
  );
  const [, b, c, d] = reports.map(({ failures }) => failures.join('\n'));
  assert.match(b ?? '', /^outer > inner\n {2}at b\.ts:2\n[^]*1 !== 2/);
  assert.match(c ?? '', /^the file itself\n {2}at c\.ts\n[^]*at once/);
  assert.match(d ?? '', /its process ended before it did: exit code 3/);
});

test('support that two files of a process share is copied for each, with its hooks', async () => {
  const support = `${HEAD} let closed = false; after(() => { closed = true; }); export const isClosed = () => closed;`;
  const user = `${HEAD} import { isClosed } from './support.ts'; test('open', () => assert.equal(isClosed(), false));`;
  const reports = await runAll({ 'support.ts': support, 'a.ts': user, 'b.ts': user }, LONG_MS);
  assert.deepEqual(
    reports.map(({ passed, failed }) => [passed, failed]),
    [
      [1, 0],
      [1, 0],
    ],
  );
});

test('one that leaves something open fails, and who shares its process with it', async () => {
  const reports = await runAll({ 'a.ts': PASSES, 'b.ts': HANGS }, 5000);
  for (const { failed, failures } of reports) {
    assert.equal(failed, 1);
    assert.match(failures.join('\n'), /did not end within 5 s/);
  }
});

import { execFileSync, spawnSync } from 'node:child_process';
import { globSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseAllDocuments } from 'yaml';

export const ROOT = join(import.meta.dirname, '../..');

export const readText = (path: string): string => readFileSync(join(ROOT, path), 'utf8');

export const list = (pattern: string): string[] => globSync(pattern, { cwd: ROOT }).toSorted();

/** Every document of a YAML text; merge keys (`<<`) as compose reads them. Throws on bad YAML and on repeated keys. */
export function parseYaml<T>(text: string): T[] {
  return parseAllDocuments(text, { merge: true, uniqueKeys: true }).map((document) => {
    const [error] = document.errors;
    if (error !== undefined) throw error;
    return document.toJS() as T;
  });
}

export function readYaml(path: string): unknown {
  const [first] = parseYaml(readText(path));
  if (first === undefined) throw new Error(`${path} is empty`);
  return first;
}

export const isInstalled = (tool: string): boolean =>
  spawnSync(tool, ['--help'], { stdio: 'ignore' }).error === undefined;

/** Standard output. Throws with what the tool said when it does not exit with 0. */
export function run(
  tool: string,
  args: readonly string[],
  env: Readonly<Record<string, string>> = {},
): string {
  return execFileSync(tool, args, {
    cwd: ROOT,
    encoding: 'utf8',
    stdio: 'pipe',
    env: { ...process.env, ...env },
  });
}

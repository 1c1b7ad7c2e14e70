import { execFile } from 'node:child_process';
import { join } from 'node:path';

export interface CheckReport {
  readonly name: string;
  readonly passed: boolean;
  readonly output: string;
  readonly ms: number;
}

// As in the scripts of package.json.
const CHECKS = {
  lint: ['oxlint', '--type-aware', '-c', '.oxlintrc.json'],
  types: ['tsc', '-p', 'tsconfig.json', '--noEmit'],
  format: ['biome', 'format', '.'],
} as const;

function check(root: string, name: keyof typeof CHECKS): Promise<CheckReport> {
  const started = performance.now();
  const [program, ...args] = CHECKS[name];
  return new Promise((resolve) => {
    const env = process.stdout.isTTY ? process.env : { ...process.env, NO_COLOR: '1', CI: undefined };
    const options = { cwd: root, env, maxBuffer: 64 * 1024 * 1024 };
    execFile(join(root, 'node_modules/.bin', program), args, options, (error, stdout, stderr) => {
      const output = `${stdout}${stderr}`.trim() || (error?.message ?? '');
      resolve({ name, passed: error === null, output, ms: performance.now() - started });
    });
  });
}

/** Lint, types and format of the whole repository, side by side. */
export const staticChecks = (root: string): Promise<CheckReport[]> =>
  Promise.all([check(root, 'lint'), check(root, 'types'), check(root, 'format')]);

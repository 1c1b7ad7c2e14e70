import { execFile } from 'node:child_process';
import { join } from 'node:path';

export interface CheckReport {
  readonly name: string;
  readonly passed: boolean;
  readonly output: string;
  readonly ms: number;
}

// The scripts of package.json; lint and types in one, since the linter reports what the compiler does: types, which
// both need, are worked out once.
const CHECKS = {
  'lint and types': ['oxlint', '--type-aware', '--type-check', '-c', '.oxlintrc.json'],
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
  Promise.all([check(root, 'lint and types'), check(root, 'format')]);

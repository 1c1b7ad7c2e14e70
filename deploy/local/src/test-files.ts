import { globSync } from 'node:fs';
import { relative } from 'node:path';

export interface TestPlan {
  /** Side by side, two at a time. */
  readonly parallel: readonly string[];
  /** One after the other, after the parallel ones: whole systems that want the machine. */
  readonly serial: readonly string[];
}

const ROOTS = ['packages', 'services', 'deploy', 'test'];

/** The test files below `root` whose path contains one of the filters (all without filters). */
export function planTests(root: string, filters: readonly string[]): TestPlan {
  const found = globSync(
    ROOTS.map((dir) => `${dir}/**/*.test.ts`),
    { cwd: root, exclude: (path) => path.split('/').includes('node_modules') },
  );
  const wanted = filters.map((filter) =>
    filter.startsWith('/') ? relative(root, filter) : filter.replace(/^\.\//, ''),
  );
  const files = found
    .filter((file) => wanted.length === 0 || wanted.some((part) => file.includes(part)))
    .toSorted();
  return {
    parallel: files.filter((file) => !file.startsWith('test/')),
    serial: files.filter((file) => file.startsWith('test/')),
  };
}

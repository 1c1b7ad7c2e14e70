import { globSync } from 'node:fs';
import { relative } from 'node:path';

export interface TestPlan {
  /** Some at a time, in this order. */
  readonly together: readonly string[];
  /** Behind the others, and fewer at a time. */
  readonly last: readonly string[];
}

const ROOTS = ['packages', 'services', 'deploy', 'test'];

/** The slow ones, the slowest first: what begins last should end soon. Only the order depends on it. */
export const SLOW: readonly string[] = [
  'test/e2e/redis-loss.test.ts',
  'test/e2e/replays.test.ts',
  'test/e2e/parked-runs.test.ts',
  'services/worker/test/health.test.ts',
  'test/e2e/key-rotation.test.ts',
  'test/e2e/provider-keys.test.ts',
  'test/e2e/rolling-restart.test.ts',
  'test/e2e/pressure.test.ts',
  'test/e2e/zombie.test.ts',
  'test/e2e/secrets.test.ts',
  'packages/run-state/test/queue.test.ts',
  'packages/run-state/test/half-open.test.ts',
  'packages/run-state/test/no-run-lost.test.ts',
  'packages/run-state/test/trust-failover.test.ts',
];

/** They break or measure a whole system against the clock. The others of test/ hold on a machine that is busy too. */
const AGAINST_THE_CLOCK = /^test\/(chaos|crash|bench)\//;

/** Money, who may write, what is kept, and all that kills: one failure there is a finding, however rare. */
const PROMISES =
  /^test\/(chaos|crash|replay)\/|abort|audit-ack|audit-hundred|cap-|chain|concurren|crash|erasure|fenc|hold|journal|loss|lost|many-runs|money|no-run|propert|replay|rolling|secret|trust|verif|zombie/;

export const provesAPromise = (file: string): boolean => PROMISES.test(file);

const rank = (file: string): number => {
  const index = SLOW.indexOf(file);
  return index === -1 ? SLOW.length : index;
};

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
    .toSorted()
    .toSorted((a, b) => rank(a) - rank(b));
  return {
    together: files.filter((file) => !AGAINST_THE_CLOCK.test(file)),
    last: files.filter((file) => AGAINST_THE_CLOCK.test(file)),
  };
}

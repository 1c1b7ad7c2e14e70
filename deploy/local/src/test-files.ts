import { globSync } from 'node:fs';
import { relative } from 'node:path';

/** Files that run in one process, one after the other. */
export type Batch = readonly string[];

export interface TestPlan {
  /** Some at a time, in this order. */
  readonly together: readonly Batch[];
  /** Behind the others, and fewer at a time. */
  readonly last: readonly Batch[];
}

const ROOTS = ['packages', 'services', 'deploy', 'test'];

/** The slow ones, the slowest first: what begins last should end soon. Only the order depends on it. */
export const SLOW: readonly string[] = [
  'test/e2e/redis-loss.test.ts',
  'test/e2e/replays.test.ts',
  'test/e2e/key-rotation.test.ts',
  'test/e2e/pressure.test.ts',
  'test/e2e/cap-seeds.test.ts',
  'test/e2e/erasure.test.ts',
  'test/e2e/rolling-restart.test.ts',
  'test/e2e/hold-leaks.test.ts',
  'test/e2e/provider-keys.test.ts',
  'services/worker/test/health.test.ts',
  'test/e2e/fairness.test.ts',
  'test/e2e/parked-runs.test.ts',
  'test/e2e/zombie.test.ts',
  'test/e2e/ended-runs.test.ts',
  'test/e2e/full-redis.test.ts',
  'test/e2e/audit-hundred-thousand.test.ts',
  'test/e2e/cap-race.test.ts',
  'test/e2e/secrets.test.ts',
  'packages/run-state/test/queue.test.ts',
  'packages/run-state/test/half-open.test.ts',
  'packages/run-state/test/no-run-lost.test.ts',
  'packages/run-state/test/trust-failover.test.ts',
  'test/crash/table.test.ts',
  'test/chaos/chaos.test.ts',
];

/** They break or measure a whole system against the clock. The others of test/ hold on a machine that is busy too. */
const AGAINST_THE_CLOCK = /^test\/(chaos|crash|bench)\//;

/** Money, who may write, what is kept, and all that kills: one failure there is a finding, however rare. */
const PROMISES =
  /^test\/(chaos|crash|replay)\/|abort|audit-ack|audit-hundred|cap-|chain|concurren|crash|erasure|fenc|hold|journal|loss|lost|many-runs|money|no-run|propert|replay|rolling|secret|trust|verif|zombie/;

export const provesAPromise = (file: string): boolean => PROMISES.test(file);

/** The slow ones, then those of whole systems; the batches, each of which is short, are behind them. */
const rank = (file: string): number => {
  const index = SLOW.indexOf(file);
  if (index !== -1) return index;
  return SMALL.test(file) ? SLOW.length + 1 : SLOW.length;
};

/** Most of what a test without a whole system costs is to load what it tests. */
const SMALL = /^(deploy|packages|services|test\/(architecture|deploy|docs|providers))\//;
/** Files of a batch, at most: what begins last should end soon. */
const MOST = 12;

/** The directory whose files may share a process, or the file itself. */
const homeOf = (file: string): string =>
  SMALL.test(file) && !SLOW.includes(file) ? file.split('/').slice(0, 2).join('/') : file;

function inBatches(files: readonly string[]): Batch[] {
  const homes = Map.groupBy(files, homeOf);
  return [...homes.values()].flatMap((own) => {
    const count = Math.ceil(own.length / MOST);
    const size = Math.ceil(own.length / count);
    return Array.from({ length: count }, (_, n) => own.slice(n * size, (n + 1) * size));
  });
}

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
    together: inBatches(files.filter((file) => !AGAINST_THE_CLOCK.test(file))),
    last: inBatches(files.filter((file) => AGAINST_THE_CLOCK.test(file))),
  };
}

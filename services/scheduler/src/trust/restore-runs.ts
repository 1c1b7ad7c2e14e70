import {
  type Db,
  listLiveRuns,
  listRunHeads,
  pagesOf,
  readStoredRuns,
  type StoredRunHead,
} from '@signalbox/audit-store';
import { SignalboxError, type StoredRun } from '@signalbox/contracts';
import { loadRun, type Partition, readLiveHeads, type Verification } from '@signalbox/run-state';
import type { Clock, Logger } from '@signalbox/runtime';
import { setRunsAside } from '../repair/set-aside.ts';
import { toLoadable } from './to-loadable.ts';

/** Puts back every run whose journal is longer in Postgres than here, within a verification. */

export interface RestoreDeps {
  readonly partition: Partition;
  readonly clock: Clock;
  readonly logger: Logger;
  /** A run that has waited this long is put back as one that hibernates. */
  readonly hibernateAfterMs: number;
}

/** The verification that is under way, and the transaction that holds its lock. */
interface Work {
  readonly tx: Db;
  readonly verification: Verification;
}

interface Restored {
  readonly loaded: number;
  /** They could not be put back. */
  readonly aside: number;
}

const BATCH = 200;

const loadBehind = async (
  { partition, logger, clock, hibernateAfterMs }: RestoreDeps,
  { tx, verification }: Work,
  { heads, here }: { heads: readonly StoredRunHead[]; here: ReadonlyMap<string, number> },
): Promise<Restored> => {
  const behind = heads.filter(({ runId, seq }) => (here.get(runId) ?? 0) < seq);
  const roots = new Map(behind.map(({ runId, rootRunId }) => [runId, rootRunId]));
  const left = new Set(roots.keys());
  let loaded = 0;
  const putBack = async (stored: StoredRun): Promise<void> => {
    const run = toLoadable(stored, roots.get(stored.runId) ?? stored.runId);
    if (run === null) return logger.error('a stored run has no key any more', { run_id: stored.runId });
    const asleep = run.parkedMs !== null && clock.now() - run.parkedMs >= hibernateAfterMs;
    if (await loadRun(partition, verification, run, { asleep })) loaded += 1;
    left.delete(stored.runId);
  };
  for await (const page of readStoredRuns(tx, behind)) {
    for (const stored of page) {
      try {
        await putBack(stored);
      } catch (error) {
        if (error instanceof SignalboxError && error.retryable) throw error;
        logger.error('a stored run cannot be put back', { run_id: stored.runId, error });
      }
    }
  }
  await setRunsAside({ partition, logger }, { tx, verification }, [...left]);
  return { loaded, aside: left.size };
};

/**
 * Runs Postgres knows as live; then runs that are live only here, since Postgres may know their end, and roots
 * of the live, whose record holds the cap of their tree.
 */
export const restoreRuns = async (
  deps: RestoreDeps,
  work: Work,
): Promise<Restored & { roots: Set<string> }> => {
  const { partition } = deps;
  const { tx } = work;
  const here = await readLiveHeads(partition);
  const seen = new Set<string>();
  const roots = new Set<string>(here.keys());
  const restored = { loaded: 0, aside: 0 };
  const restore = async (heads: readonly StoredRunHead[]): Promise<void> => {
    const { loaded, aside } = await loadBehind(deps, work, { heads, here });
    restored.loaded += loaded;
    restored.aside += aside;
  };
  const live = pagesOf<StoredRunHead>(BATCH, (last) =>
    listLiveRuns(tx, { partition: partition.index, after: last?.runId ?? '', limit: BATCH }),
  );
  for await (const heads of live) {
    for (const head of heads) {
      seen.add(head.runId);
      roots.add(head.rootRunId);
    }
    await restore(heads);
  }
  const rest = [...roots].filter((runId) => !seen.has(runId));
  for (let i = 0; i < rest.length; i += BATCH) {
    await restore(await listRunHeads(tx, rest.slice(i, i + BATCH)));
  }
  return { ...restored, roots };
};

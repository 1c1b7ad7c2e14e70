/**
 * Makes long waits cheap, and ends those that last too long (Read). Owns no run: every step is a script
 * that looks again, so that two leaders do no harm.
 *
 * Turn: waits that are too long are ended; woken runs, and those that a verification could not put back, are loaded
 * from Postgres; runs parked for long whose journal Postgres has whole are put to sleep. While Postgres is away runs stay
 * as they are: the parked ones in Redis, the woken ones in `loading`, where the next turn finds them (R10).
 */
import { type Db, listRunHeads, listWholeHeads, readStoredRuns } from '@signalbox/audit-store';
import { SignalboxError, type StoredRun } from '@signalbox/contracts';
import {
  type ActivationQueue,
  awakenRun,
  expireWaits,
  hibernateRuns,
  listLoading,
  listSleepy,
  type Partition,
  postponeLoading,
  type SleepyRun,
} from '@signalbox/run-state';
import { backoffMs, type Clock, type Heartbeat, type Logger, withTimeout } from '@signalbox/runtime';
import type { HibernationMetrics } from '../metrics.ts';
import { keepRounds } from '../repair/rounds.ts';
import { toLoadable } from '../trust/to-loadable.ts';

export interface HibernationDeps {
  readonly partition: Partition;
  readonly db: Db;
  readonly queue: ActivationQueue;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly metrics: HibernationMetrics;
  readonly hibernateAfterMs: number;
  /** How long a run may wait in one park. */
  readonly longestWaitMs: number;
}

const SECOND = 1000;
/** Runs that one turn puts to sleep, looks at for their age, or loads; loading moves whole journals. */
const LIMIT = 200;
const LOAD_LIMIT = 50;
const QUEUE_MS = 5 * SECOND;
/** When a run that could not be loaded is tried again. */
const LOAD_AGAIN_MS = 30 * SECOND;
/** When one is, for which there was no room. */
const PRESSURE_MS = 5 * SECOND;

/** Walks an index past the runs that stay in it, a page a turn, and begins anew at its end. */
class Scan {
  skip = 0;

  /** Of a page of `seen` runs `left` the index. True: as much may be to do at once. */
  advance(seen: number, left: number): boolean {
    const full = seen === LIMIT;
    this.skip = full ? this.skip + seen - left : 0;
    return full && left > 0;
  }
}

/** Those that Postgres has just as they are here. */
const wholeOf = async (db: Db, runs: readonly SleepyRun[]): Promise<SleepyRun[]> => {
  if (runs.length === 0) return [];
  const heads = await listWholeHeads(
    db,
    runs.map(({ runId }) => runId),
  );
  return runs.filter(({ runId, seq, head }) => {
    const stored = heads.get(runId);
    return stored?.seq === seq && stored.hash === head;
  });
};

export class Hibernation {
  readonly #deps: HibernationDeps;
  readonly #scans = { parked: new Scan(), asleep: new Scan(), sleepy: new Scan() };

  constructor(deps: HibernationDeps) {
    this.#deps = deps;
  }

  /**
   * True: there is more to do at once. Throws `state_unavailable`, `state_untrusted`, `audit_store_unavailable`
   * and errors of the queue; the next turn does what this one left.
   */
  async turn(): Promise<boolean> {
    const expired = [await this.#expire('parked'), await this.#expire('asleep')];
    const loaded = await this.#load();
    const slept = await this.#sleep();
    return loaded || slept || expired.includes(true);
  }

  async #expire(index: 'parked' | 'asleep'): Promise<boolean> {
    const { partition, queue, clock, logger, metrics, longestWaitMs: longestMs } = this.#deps;
    const scan = this.#scans[index];
    const page = { index, longestMs, skip: scan.skip, limit: LIMIT };
    const { seen, woken, activations } = await expireWaits(partition, page);
    const more = scan.advance(seen, woken);
    if (woken === 0) return false;
    metrics.expired.inc(woken);
    logger.info('waits ended that lasted too long', { runs: woken });
    // BullMQ waits for its Redis without end; the leader must not.
    await withTimeout(queue.add(activations), QUEUE_MS, clock);
    return more;
  }

  async #load(): Promise<boolean> {
    const { partition, db } = this.#deps;
    const runIds = await listLoading(partition, LOAD_LIMIT);
    if (runIds.length === 0) return false;
    const heads = await listRunHeads(db, runIds);
    const roots = new Map(heads.map(({ runId, rootRunId }) => [runId, rootRunId]));
    const missing = new Set(runIds);
    for await (const page of readStoredRuns(db, heads)) {
      for (const { runId } of page) missing.delete(runId);
      await Promise.all(page.map((run) => this.#loadOne(run.runId, run, roots.get(run.runId) ?? run.runId)));
    }
    await Promise.all([...missing].map((runId) => this.#loadOne(runId, undefined, runId)));
    return runIds.length === LOAD_LIMIT;
  }

  async #loadOne(runId: string, stored: StoredRun | undefined, rootRunId: string): Promise<void> {
    const { partition, queue, clock, logger, metrics } = this.#deps;
    try {
      const run = stored === undefined ? null : toLoadable(stored, rootRunId);
      const { code, activations } =
        run === null ? { code: 'NOT_STORED', activations: [] } : await awakenRun(partition, run);
      if (code === 'LOADED') metrics.loaded.inc();
      if (code === 'LOADED' || code === 'GONE') {
        await withTimeout(queue.add(activations), QUEUE_MS, clock);
        return;
      }
      if (code === 'PRESSURE') return await postponeLoading(partition, runId, PRESSURE_MS);
      logger.error('a run cannot be loaded: Postgres has not all of it, or no key', {
        run_id: runId,
        code,
      });
    } catch (error) {
      // What is wrong with one run must not keep those of the next page from loading.
      if (error instanceof SignalboxError && error.retryable) throw error;
      logger.error('a run cannot be loaded', { run_id: runId, error });
    }
    await postponeLoading(partition, runId, LOAD_AGAIN_MS);
  }

  async #sleep(): Promise<boolean> {
    const { partition, db, metrics, hibernateAfterMs: parkedMs } = this.#deps;
    const scan = this.#scans.sleepy;
    const { seen, runs } = await listSleepy(partition, { parkedMs, skip: scan.skip, limit: LIMIT });
    const asleep = await hibernateRuns(partition, await wholeOf(db, runs));
    metrics.hibernated.inc(asleep.length);
    return scan.advance(seen, asleep.length);
  }
}

const TURN_MS = 250;
const RETRY = { baseMs: TURN_MS, capMs: 5 * SECOND };

export interface HibernationLoop {
  readonly hibernation: Hibernation;
  readonly isLeader: () => boolean;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Beats at each round, leading or not. */
  readonly heart: Pick<Heartbeat, 'beat'>;
  /** Uniform in [0, 1). */
  readonly random: () => number;
}

/**
 * A turn four times a second while this process leads, at once again after a full one. Ends after `stopping`. Never
 * rejects.
 */
export const runHibernation = (loop: HibernationLoop, stopping: AbortSignal): Promise<void> => {
  const { hibernation, isLeader, clock, logger, heart, random } = loop;
  return keepRounds(
    {
      clock,
      round: async () => {
        heart.beat();
        return isLeader() && (await hibernation.turn()) ? 0 : TURN_MS;
      },
      failed: (error, failures) => {
        // Of a partition that is not verified the other loop tells.
        const isUnverified = error instanceof SignalboxError && error.code === 'state_untrusted';
        logger[isUnverified ? 'debug' : 'warn']('parked runs were not looked after', { error, failures });
        return backoffMs(failures, { ...RETRY, random });
      },
    },
    stopping,
  );
};

import { setImmediate } from 'node:timers/promises';
import {
  type ClaimedReplay,
  claimReplay,
  endReplay,
  listReplayable,
  type ReplayablePage,
  type ReplayableRun,
  type ReplayOwner,
  readRuns,
  saveReplay,
  type StoredReplay,
} from '@signalbox/audit-store';
import { replayAad, ReplayChanges, SignalboxError, type StoredRun } from '@signalbox/contracts';
import { openText, pause, SealError } from '@signalbox/runtime';
import { type ForkDeps, forkDiverged } from './replay-fork.ts';
import { ReplayPage } from './replay-page.ts';
import { replayStored } from './replay-stored.ts';

/**
 * Works jobs a page at a time. A turn claims the job that waits longest, replays a page of runs, saves what it found
 * with its cursor, and lets go, so that jobs of all tenants take turns and one whose owner died goes on where its last
 * page ended. Between runs others of this process have their turn, and it rests as long as it worked.
 */
export type TurnDeps = ForkDeps & {
  readonly owner: string;
  /** Runs that one look for the next page goes through; default: the store's. */
  readonly mostLookedAt?: number;
};

/** Far above what a page takes. */
const LEASE_SECONDS = 30;
const PAGE_RUNS = 100;
/** A page holds sealed contents of at most so much, or one run. */
const PAGE_BYTES = 8_000_000;
/** Owners that may be lost over one page before the job is given up. */
const MAX_TAKEOVERS = 5;
/** While keys are replaced, another process may have the one that a job, or a run of it, needs. */
const KEYS_ROLL_MS = 24 * 3600 * 1000;
/** Of the processor, between rests. */
const SHIFT_MS = 10;

const fitting = (runs: readonly ReplayableRun[]): readonly ReplayableRun[] => {
  let bytes = 0;
  const end = runs.findIndex((run, index) => (bytes += run.bytes) > PAGE_BYTES && index > 0);
  return end < 0 ? runs : runs.slice(0, end);
};

const nextRuns = async (
  { db, mostLookedAt }: TurnDeps,
  { tenant_id: tenantId, filter: { limit: most, ...filter }, cursor: before, selected }: StoredReplay,
): Promise<ReplayablePage> => {
  const limit = Math.min(PAGE_RUNS, most - selected);
  if (limit <= 0) return { runs: [], lookedTo: null };
  const page = await listReplayable(db, { tenantId, filter, before, limit }, { mostLookedAt });
  return { ...page, runs: fitting(page.runs) };
};

const changesOf = ({ keyring }: TurnDeps, { id, sealed_changes }: StoredReplay): ReplayChanges =>
  ReplayChanges.parse(JSON.parse(openText(keyring, sealed_changes ?? '', replayAad(id))));

interface Work {
  readonly job: StoredReplay;
  readonly owner: ReplayOwner;
  readonly changes: ReplayChanges;
  readonly page: ReplayPage;
}

/** False: the job is lost. Throws what can be tried again. */
const replayOne = async (deps: TurnDeps, work: Work, run: StoredRun): Promise<boolean> => {
  const { job, owner, changes, page } = work;
  const options = { changes: job.changed.length === 0 ? undefined : changes, compare: job.compare, most: 1 };
  const found = page.timed(deps.clock, () => replayStored(deps.keyring, run, options));
  const [divergence] = found.divergences;
  if (divergence === undefined) {
    page.identical(run.runId, found.steps);
    return true;
  }
  const forked =
    job.mode === 'paid' ? await forkDiverged(deps, { job, owner, changes, run, divergence }) : null;
  if (forked === 'lost') return false;
  page.diverged(run.runId, found.steps, { divergence, notForked: forked === 'not_forked' });
  return true;
};

/** Another process may have the key that this one lacks. */
const keysMayRoll = ({ clock }: TurnDeps, { created_at }: StoredReplay): boolean =>
  clock.now() - created_at.getTime() < KEYS_ROLL_MS;

/** What is wrong with one run says nothing of the next. Throws what can be tried again. */
const unreadable = (
  deps: TurnDeps,
  { job, runId }: { readonly job: StoredReplay; readonly runId: string },
  error: unknown,
): string => {
  if (error instanceof SignalboxError) {
    const isLost = error.code === 'encryption_key_missing' && !keysMayRoll(deps, job);
    if (error.retryable && !isLost) throw error;
    if (isLost || error.status < 500) return error.code;
  }
  const why = error instanceof SealError ? 'a run cannot be opened' : 'a run cannot be replayed';
  deps.logger.error(why, { run_id: runId, error });
  return 'internal';
};

/** Others have their turn after each run; after a shift, for as long as it took. */
const rests = ({ clock }: TurnDeps, page: ReplayPage, stopping: AbortSignal) => {
  let restedMs = 0;
  return async (): Promise<void> => {
    const shiftMs = page.busyMs - restedMs;
    if (shiftMs < SHIFT_MS) return setImmediate();
    restedMs = page.busyMs;
    await pause(clock, shiftMs, stopping);
  };
};

const replayPage = async (
  deps: TurnDeps,
  work: Work,
  runs: readonly ReplayableRun[],
  stopping: AbortSignal,
): Promise<void> => {
  const { job, page } = work;
  const ids = runs.map(({ id }) => id);
  const stored = new Map((await readRuns(deps.db, job.tenant_id, ids)).map((run) => [run.runId, run]));
  const rest = rests(deps, page, stopping);
  for (const id of ids) {
    if (stopping.aborted) return;
    const run = stored.get(id);
    try {
      if (run === undefined) page.failed(id, 'not_found');
      else if (!(await replayOne(deps, work, run))) return;
    } catch (error) {
      page.failed(id, unreadable(deps, { job, runId: id }, error));
    }
    await rest();
  }
};

/** Why a job is given up; null: it is not. */
const faultOf = ({ key_refused, takeovers }: ClaimedReplay): string | null => {
  if (key_refused) return 'The API key that started it was revoked or has expired.';
  if (takeovers < MAX_TAKEOVERS) return null;
  return `Its next runs brought down ${takeovers} processes in a row.`;
};

const workOn = async (deps: TurnDeps, job: ClaimedReplay, stopping: AbortSignal): Promise<void> => {
  const owner = { id: job.id, owner: deps.owner };
  const error = faultOf(job);
  if (error !== null) return endReplay(deps.db, owner, { status: 'failed', error });
  const changes = changesOf(deps, job);
  const { runs, lookedTo } = await nextRuns(deps, job);
  const page = new ReplayPage(job);
  if (runs.length === 0) {
    if (lookedTo === null) return endReplay(deps.db, owner, { status: 'done', error: null });
    // None among those it looked at: the next turn goes on behind them.
    await saveReplay(deps.db, owner, { ...page.progress(), cursor: lookedTo });
    return;
  }
  try {
    await replayPage(deps, { job, owner, changes, page }, runs, stopping);
  } finally {
    await saveReplay(deps.db, owner, page.progress());
  }
};

/** Throws the error while another process may open what this one cannot. */
const giveUp = async (deps: TurnDeps, job: ClaimedReplay, error: SealError): Promise<void> => {
  const owner = { id: job.id, owner: deps.owner };
  if (keysMayRoll(deps, job)) {
    await saveReplay(deps.db, owner, new ReplayPage(job).progress());
    throw error;
  }
  deps.logger.error('the changes of a replay cannot be opened', { replay_id: job.id, error });
  await endReplay(deps.db, owner, { status: 'failed', error: 'Its changes cannot be opened any more.' });
};

/**
 * False: no job is open. Throws what the stores throw, and SealError or `encryption_key_missing` where a key is missing;
 * what was done till then is kept.
 */
export const replayTurn = async (deps: TurnDeps, stopping: AbortSignal): Promise<boolean> => {
  const job = await claimReplay(deps.db, { owner: deps.owner, leaseSeconds: LEASE_SECONDS });
  if (job === null) return false;
  try {
    await workOn(deps, job, stopping);
  } catch (error) {
    if (!(error instanceof SealError)) throw error;
    await giveUp(deps, job, error);
  }
  return true;
};

/**
 * Erases what was said in runs whose contents are past the time that their tenant keeps them (engine, retention.ts):
 * every 15 s, if this scheduler leads. The same erasure as a tenant's own order, under the same lock, so legal hold
 * wins and the trail comes before the deed (R9). Killed anywhere, what it left is due again: an erasure is settled in
 * Postgres last, and its event has an id that follows from the run, so the trail tells of it once. Two leaders at once
 * harm nothing. Events are not touched: they leave with their month (partitions.ts).
 */
import { createHash } from 'node:crypto';
import {
  type Db,
  eraseRunContents,
  listKeptContents,
  listRetention,
  ranOutOfTime,
  type TenantRetention,
} from '@signalbox/audit-store';
import { type AdminEventDraft, SignalboxError } from '@signalbox/contracts';
import { contentPeriodDays, isContentDue } from '@signalbox/engine';
import { eraseHot, type Partition, recordAdminEvents } from '@signalbox/run-state';
import { type Clock, type Counter, type Logger, pause } from '@signalbox/runtime';
import { keepRounds } from '../repair/rounds.ts';

const ROUND_MS = 15_000;
/** Between full turns: the audit-writer waits while runs are erased. */
const PAUSE_MS = 50;
/** Runs of one tenant that are erased at once. */
const BATCH = 50;

const REASON = 'retention';

export interface RetentionDeps {
  readonly db: Db;
  readonly partition: Partition;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly isLeader: () => boolean;
  readonly erased: Counter;
  /** How long events of a tenant stay that has set no period. Null: for ever. */
  readonly defaultEventDays: number | null;
}

const eventIdOf = (runId: string): string =>
  `evt_${createHash('sha256').update(`${REASON} ${runId}`).digest('hex').slice(0, 32)}`;

const draftOf = (tenantId: string, runId: string, nowMs: number): AdminEventDraft => ({
  event_id: eventIdOf(runId),
  tenant_id: tenantId,
  ts: new Date(nowMs).toISOString(),
  actor: { type: 'system', id: 'scheduler' },
  type: 'content.erased',
  data: { run_id: runId, reason: REASON },
});

/** True: there may be more of this tenant. */
const eraseOf = async (deps: RetentionDeps, own: TenantRetention): Promise<boolean> => {
  const { db, partition, clock, defaultEventDays } = deps;
  const { tenantId } = own;
  const period = contentPeriodDays(own, defaultEventDays);
  if (period === null) return false;
  const now = clock.now();
  const due = (await listKeptContents(db, tenantId, BATCH))
    .filter(({ status, finishedAt }) =>
      isContentDue({ status, finishedMs: finishedAt.getTime() }, period, now),
    )
    .map(({ runId }) => runId);
  if (due.length === 0) return false;
  await eraseRunContents(db, tenantId, due, {
    note: (fresh) =>
      recordAdminEvents(
        partition,
        tenantId,
        fresh.map((runId) => draftOf(tenantId, runId, now)),
      ),
    elsewhere: (erased) => eraseHot(partition, erased),
  });
  deps.erased.inc(due.length);
  deps.logger.info('contents erased: the time is over that they are kept', {
    tenant_id: tenantId,
    runs: due.length,
  });
  return due.length === BATCH;
};

/** One tenant's trouble is not another's, nor is what it has too much of: only a store that is away ends the turn. */
const trying = async (deps: RetentionDeps, own: TenantRetention): Promise<boolean> => {
  try {
    return await eraseOf(deps, own);
  } catch (error) {
    // Held since it was looked at: the next turn passes it by.
    if (error instanceof SignalboxError && error.code === 'legal_hold') return true;
    if (error instanceof SignalboxError && error.retryable && !ranOutOfTime(error)) throw error;
    deps.logger.error('contents past their time cannot be erased', { tenant_id: own.tenantId, error });
    return false;
  }
};

/**
 * One turn, of a leader: a batch of each tenant. True: there may be more to do at once. Throws
 * `audit_store_unavailable`, `state_unavailable`; the next turn does what this one left.
 */
export const eraseDue = async (deps: RetentionDeps): Promise<boolean> => {
  let more = false;
  for (const own of await listRetention(deps.db, deps.partition.index)) {
    if (!deps.isLeader()) return false;
    if (await trying(deps, own)) more = true;
  }
  return more;
};

/** Ends after `stopping` and the turn under way. Never rejects. */
export const keepRetention = async (deps: RetentionDeps, stopping: AbortSignal): Promise<void> => {
  const { clock, logger, isLeader } = deps;
  await pause(clock, ROUND_MS, stopping);
  await keepRounds(
    {
      clock,
      round: async () => (isLeader() && (await eraseDue(deps)) ? PAUSE_MS : ROUND_MS),
      failed: (error) => {
        logger.warn('contents past their time could not be erased', { error });
        return ROUND_MS;
      },
    },
    stopping,
  );
};

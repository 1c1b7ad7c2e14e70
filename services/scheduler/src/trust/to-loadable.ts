import { isTerminal, type StoredRun } from '@signalbox/contracts';
import { type Attempt, fold, readEntry, type RunState } from '@signalbox/engine';
import type { LoadableHold, LoadableRun } from '@signalbox/run-state';

/** A run as run state would hold it, derived from its journal alone. */

const holdsOf = (state: RunState): LoadableHold[] =>
  state.steps
    .flatMap((step): readonly Attempt[] => step.attempts)
    .flatMap(({ hold, settlement, code }) =>
      hold === null
        ? []
        : [
            {
              id: hold.id,
              amountNano: hold.amount_nano,
              day: hold.day,
              settled:
                settlement === null
                  ? null
                  : { observedNano: settlement.observed_nano, expired: code === 'worker_lost' },
            },
          ],
    );

interface Standing {
  readonly status: string;
  readonly waitingFor: string | null;
  readonly dueMs: number | null;
  readonly parkedMs: number | null;
}

const RUNNABLE: Standing = { status: 'queued', waitingFor: null, dueMs: null, parkedMs: null };

/**
 * A timer keeps its time; whatever else a run waited for is asked again by its next owner, so a wake that was
 * lost with Redis is not missed (R10).
 */
const standingOf = (state: RunState, parkedUntil: string | null): Standing => {
  if (isTerminal(state.status)) return { ...RUNNABLE, status: state.status };
  if (state.abort !== null) return RUNNABLE;
  if (state.status !== 'waiting' || state.waitingFor !== 'timer' || parkedUntil === null) return RUNNABLE;
  const parkedMs = Date.parse(state.lastTs);
  return { status: 'waiting', waitingFor: 'timer', dueMs: Date.parse(parkedUntil), parkedMs };
};

/** Null when the key of a run that has not ended is gone: nothing of it can go on. Throws when its journal is damaged. */
export const toLoadable = (stored: StoredRun, rootRunId: string): LoadableRun | null => {
  const events = stored.entries.map(readEntry);
  const state = fold(events);
  if (stored.wrappedKey === null && !isTerminal(state.status)) return null;
  const parked = events.findLast((event) => event.type === 'run.parked');
  const claimed = events.findLast((event) => event.type === 'run.claimed');
  const parkedUntil = parked?.type === 'run.parked' ? parked.data.until : state.submitted.run_at;
  return {
    runId: state.runId,
    tenantId: state.submitted.tenant_id,
    userId: state.submitted.user_id,
    agent: state.submitted.agent.name,
    rootRunId,
    priority: state.submitted.priority,
    capNano: state.submitted.cap_nano,
    wrappedKey: stored.wrappedKey,
    epoch: state.epoch,
    seq: state.seq,
    head: state.hash,
    wakeSeq: claimed?.type === 'run.claimed' ? claimed.data.wake_seq : 0,
    createdMs: Date.parse(state.createdAt),
    ...standingOf(state, parkedUntil),
    abort: state.abort,
    entries: stored.entries,
    holds: holdsOf(state),
    contents: stored.contents,
  };
};

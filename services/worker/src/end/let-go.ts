import type { EventDraft } from '@signalbox/contracts';
import { appendDrafts, hashOf, type Head } from '@signalbox/engine';
import {
  type Activation,
  type After,
  chargeLost,
  type Claimed,
  type CommitReply,
  commitRun,
  type CostMetric,
  type EndMetrics,
  type HeldCall,
  type Note,
  noteDraft,
  type Partition,
} from '@signalbox/run-state';
import { type Clock, pause } from '@signalbox/runtime';
import { endedUnread } from './ended-unread.ts';
import { openHolds } from './open-holds.ts';

/**
 * A claimed run that this worker cannot even open: its key, or that of the provider key it goes on with, is not in the
 * ring, or its journal holds what this version does not know. Another worker may be able to, so it is let go, but not
 * at once: this one has free slots and would get it again before those that work. It ends once several workers tried
 * for longer than a deploy takes, or its claims are used up, and what it still holds is charged (R2, R10).
 */

export interface LetGoDeps {
  readonly partition: Partition;
  readonly clock: Clock;
  /** The wait is over at once: the worker stops, lost its lease, or the run is asked to stop. */
  readonly hurry: AbortSignal;
  readonly counters: EndMetrics & CostMetric;
  readonly onActivations: (activations: readonly Activation[]) => void;
}

/** Claims without a step that got its result, after which a run counts as poison. */
export const MAX_CLAIMS = 3;

interface Write {
  readonly head: Head;
  /** What others left in the inbox, before the results: who asked it to stop stands in the journal. */
  readonly notes: readonly Note[];
  readonly held: readonly HeldCall[];
  readonly announce: EventDraft;
  readonly after: After;
}

const HANDED_OVER: EventDraft = { type: 'run.handed_over', data: { reason: 'error' } };

const WAIT = { minMs: 1000, maxMs: 25_000 };
/**
 * As many different workers, over as long: so a deploy in which old and new ones differ ends no run. Where there are
 * fewer, a day is enough: what it holds counts in the caps meanwhile.
 */
const UNOPENED = { workers: 3, ms: 10 * 60_000, longestMs: 24 * 3_600_000 };

/** Why the run is not tried again; null: it is. */
const poisonOf = ({ claims, unopened, leaseId }: Claimed, triedMs: number): string | null => {
  if (claims > MAX_CLAIMS)
    return `${MAX_CLAIMS} claims in a row were lost or broke at the same step, and now the run cannot be opened.`;
  const workers = new Set([...(unopened?.leases ?? []), leaseId]).size;
  if (triedMs < (workers < UNOPENED.workers ? UNOPENED.longestMs : UNOPENED.ms)) return null;
  const minutes = Math.floor(triedMs / 60_000);
  return `No worker could open the run, or the provider key it goes on with, for ${minutes} minutes; ${workers} tried.`;
};

type DraftOf<T extends EventDraft['type']> = Extract<EventDraft, { type: T }>;

const failed = (message: string): DraftOf<'run.failed'> => ({
  type: 'run.failed',
  data: { code: 'poison_step', message },
});

const aborted = (held: readonly HeldCall[]): DraftOf<'run.aborted'> => ({
  type: 'run.aborted',
  data: {
    caught: 'between_steps',
    call_closed: false,
    settled_nano: held.reduce((sum, { hold }) => sum + hold.amount_nano, 0),
  },
});

const headOf = ({ entries }: Claimed): Head => ({
  seq: entries.length,
  hash: hashOf(entries.at(-1) ?? ''),
});

const REFUSED: ReadonlySet<string> = new Set(['FENCED', 'TERMINAL', 'CONFLICT', 'NOT_FOUND']);

const write = async (deps: LetGoDeps, claimed: Claimed, what: Write): Promise<CommitReply> => {
  const { partition, clock, counters, onActivations } = deps;
  const { runId, leaseId, epoch } = claimed;
  const context = {
    runId,
    epoch,
    ts: new Date(clock.now()).toISOString(),
    actor: { type: 'system', id: leaseId },
  } as const;
  const { head, notes, held, after } = what;
  const { drafts, settlements } = chargeLost(held);
  const results = appendDrafts(head, [...notes.map(noteDraft), ...drafts], context);
  const { entries } = appendDrafts(results.head, [what.announce], context);
  const reply = await commitRun(partition, {
    runId,
    leaseId,
    epoch,
    head,
    results:
      results.entries.length === 0
        ? null
        : { entries: results.entries, contents: [], settlements, notes: notes.length, progress: false },
    announcement: { entries, contents: [], hold: null, after },
  });
  onActivations(reply.activations);
  if (!REFUSED.has(reply.code)) for (const { model, hold } of held) counters.charged(model, hold.amount_nano);
  return reply;
};

interface End extends Omit<Write, 'after'> {
  readonly announce: DraftOf<'run.failed' | 'run.aborted'>;
}

/** Writes its last event, and counts the run where it is written. */
const end = async (deps: LetGoDeps, claimed: Claimed, { announce, ...what }: End): Promise<CommitReply> => {
  const status = announce.type === 'run.failed' ? 'failed' : 'aborted';
  const after: After = { type: 'finish', status };
  const reply = await write(deps, claimed, { ...what, announce, after });
  const ended = endedUnread(claimed.entries, {
    status,
    error: announce.type === 'run.failed' ? announce.data : null,
    aborted: announce.type === 'run.aborted' ? announce.data : null,
    notes: what.notes,
  });
  if (reply.code === 'OK' && ended !== null) deps.counters.runEnded(ended, deps.clock.now());
  return reply;
};

export const letGo = async (deps: LetGoDeps, claimed: Claimed): Promise<void> => {
  const { clock, hurry } = deps;
  const start = headOf(claimed);
  const triedMs = claimed.unopened === null ? 0 : clock.now() - claimed.unopened.sinceMs;
  const poison = poisonOf(claimed, triedMs);
  const held = openHolds(claimed.entries);
  if (poison === null) {
    // As long as it was tried already, so the time between two tries doubles.
    const waitMs = Math.min(Math.max(triedMs, WAIT.minMs), WAIT.maxMs);
    await pause(clock, waitMs, hurry);
    const after: After = { type: 'hand_over', unopened: true };
    const what = { head: start, notes: [], held: [], announce: HANDED_OVER, after };
    const { code, head, notes } = await write(deps, claimed, what);
    if (code === 'ABORTED') await end(deps, claimed, { head, notes, held, announce: aborted(held) });
    return;
  }
  const what = { head: start, notes: [], held, announce: failed(poison) };
  const { code, head, notes } = await end(deps, claimed, what);
  // Refused, but what it held is charged by now.
  if (code === 'ABORTED') await end(deps, claimed, { head, notes, held: [], announce: aborted(held) });
};

import type { EventDraft } from '@signalbox/contracts';
import { appendDrafts, hashOf, type Head } from '@signalbox/engine';
import {
  type Activation,
  type After,
  chargeLost,
  type Claimed,
  type CommitReply,
  commitRun,
  type CommitSettlement,
  type Partition,
} from '@signalbox/run-state';
import { type Clock, pause } from '@signalbox/runtime';
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
  readonly onActivations: (activations: readonly Activation[]) => void;
}

/** Claims without a step that got its result, after which a run counts as poison. */
export const MAX_CLAIMS = 3;

interface Write {
  readonly head: Head;
  readonly results: readonly EventDraft[];
  readonly settlements: readonly CommitSettlement[];
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

const failed = (message: string): EventDraft => ({
  type: 'run.failed',
  data: { code: 'poison_step', message },
});

const aborted = (settledNano: number): EventDraft => ({
  type: 'run.aborted',
  data: { caught: 'between_steps', call_closed: false, settled_nano: settledNano },
});

const headOf = ({ entries }: Claimed): Head => ({
  seq: entries.length,
  hash: hashOf(entries.at(-1) ?? ''),
});

const write = async (deps: LetGoDeps, claimed: Claimed, what: Write): Promise<CommitReply> => {
  const { partition, clock, onActivations } = deps;
  const { runId, leaseId, epoch } = claimed;
  const context = {
    runId,
    epoch,
    ts: new Date(clock.now()).toISOString(),
    actor: { type: 'system', id: leaseId },
  } as const;
  const { head, settlements, after } = what;
  const results = appendDrafts(head, what.results, context);
  const { entries } = appendDrafts(results.head, [what.announce], context);
  const reply = await commitRun(partition, {
    runId,
    leaseId,
    epoch,
    head,
    results:
      results.entries.length === 0
        ? null
        : { entries: results.entries, contents: [], settlements, notes: 0, progress: false },
    announcement: { entries, contents: [], hold: null, after },
  });
  onActivations(reply.activations);
  return reply;
};

const NOTHING = { results: [], settlements: [] };

export const letGo = async (deps: LetGoDeps, claimed: Claimed): Promise<void> => {
  const { clock, hurry } = deps;
  const head = headOf(claimed);
  const triedMs = claimed.unopened === null ? 0 : clock.now() - claimed.unopened.sinceMs;
  const poison = poisonOf(claimed, triedMs);
  if (poison === null) {
    // As long as it was tried already, so the time between two tries doubles.
    const waitMs = Math.min(Math.max(triedMs, WAIT.minMs), WAIT.maxMs);
    await pause(clock, waitMs, hurry);
    const after: After = { type: 'hand_over', unopened: true };
    const reply = await write(deps, claimed, { head, ...NOTHING, announce: HANDED_OVER, after });
    if (reply.code !== 'ABORTED') return;
  }
  const held = openHolds(claimed.entries);
  const { drafts: results, settlements } = chargeLost(held);
  const charged = { results, settlements };
  const ended = aborted(held.reduce((sum, { hold }) => sum + hold.amount_nano, 0));
  const abort: After = { type: 'finish', status: 'aborted' };
  if (poison === null) {
    await write(deps, claimed, { head, ...charged, announce: ended, after: abort });
    return;
  }
  const announce = failed(poison);
  const reply = await write(deps, claimed, {
    head,
    ...charged,
    announce,
    after: { type: 'finish', status: 'failed' },
  });
  // Refused, but what it held is charged by now.
  if (reply.code === 'ABORTED')
    await write(deps, claimed, { head: reply.head, ...NOTHING, announce: ended, after: abort });
};

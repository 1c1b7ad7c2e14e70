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
import type { Clock } from '@signalbox/runtime';
import { openHolds } from './open-holds.ts';

/**
 * A claimed run that this worker cannot even open: its key is not in the ring, or its journal holds what this
 * version does not know. Another worker may be able to, so it is let go; once as many claims as count for
 * poison were in vain, it ends, and what it still holds is charged (R2, R10).
 */
export interface LetGoDeps {
  readonly partition: Partition;
  readonly clock: Clock;
  readonly onActivations: (activations: readonly Activation[]) => void;
}

interface Write {
  readonly head: Head;
  readonly results: readonly EventDraft[];
  readonly settlements: readonly CommitSettlement[];
  readonly announce: EventDraft;
  readonly after: After;
}

const HANDED_OVER: EventDraft = { type: 'run.handed_over', data: { reason: 'error' } };

const failed = (claims: number): EventDraft => ({
  type: 'run.failed',
  data: { code: 'poison_step', message: `${claims} workers in a row could not open the run.` },
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

export const letGo = async (deps: LetGoDeps, claimed: Claimed, isPoison: boolean): Promise<void> => {
  const head = headOf(claimed);
  if (!isPoison) {
    const after: After = { type: 'hand_over', failed: true };
    const reply = await write(deps, claimed, { head, ...NOTHING, announce: HANDED_OVER, after });
    if (reply.code !== 'ABORTED') return;
  }
  const held = openHolds(claimed.entries);
  const { drafts: results, settlements } = chargeLost(held);
  const charged = { results, settlements };
  const ended = aborted(held.reduce((sum, { hold }) => sum + hold.amount_nano, 0));
  const abort: After = { type: 'finish', status: 'aborted' };
  if (!isPoison) {
    await write(deps, claimed, { head, ...charged, announce: ended, after: abort });
    return;
  }
  const announce = failed(claimed.claims - 1);
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

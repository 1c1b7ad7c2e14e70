import type { EventDraft } from '@signalbox/contracts';
import { appendDrafts, hashOf, type Head } from '@signalbox/engine';
import { type Activation, type After, type Claimed, commitRun, type Partition } from '@signalbox/run-state';
import type { Clock } from '@signalbox/runtime';

/**
 * A claimed run that this worker cannot even open: its key is not in the ring, or its journal holds what this
 * version does not know. Another worker may be able to, so it is let go; once as many claims as count for
 * poison were in vain, it ends (R10). Needs nothing but the head of the journal.
 */
export interface LetGoDeps {
  readonly partition: Partition;
  readonly clock: Clock;
  readonly onActivations: (activations: readonly Activation[]) => void;
}

const failed = (message: string): EventDraft => ({
  type: 'run.failed',
  data: { code: 'poison_step', message },
});

const HANDED_OVER: EventDraft = { type: 'run.handed_over', data: { reason: 'error' } };

const headOf = ({ entries }: Claimed): Head => ({
  seq: entries.length,
  hash: hashOf(entries.at(-1) ?? ''),
});

const write = async (
  { partition, clock }: LetGoDeps,
  claimed: Claimed,
  draft: EventDraft,
  after: After,
): ReturnType<typeof commitRun> => {
  const { runId, leaseId, epoch } = claimed;
  const head = headOf(claimed);
  const { entries } = appendDrafts(head, [draft], {
    runId,
    epoch,
    ts: new Date(clock.now()).toISOString(),
    actor: { type: 'system', id: leaseId },
  });
  const announcement = { entries, contents: [], hold: null, after };
  return commitRun(partition, { runId, leaseId, epoch, head, results: null, announcement });
};

export const letGo = async (deps: LetGoDeps, claimed: Claimed, isPoison: boolean): Promise<void> => {
  const reply = isPoison
    ? await write(deps, claimed, failed(`${claimed.claims - 1} workers in a row could not open the run.`), {
        type: 'finish',
        status: 'failed',
      })
    : await write(deps, claimed, HANDED_OVER, { type: 'hand_over', failed: true });
  deps.onActivations(reply.activations);
  if (reply.code !== 'ABORTED') return;
  const aborted: EventDraft = {
    type: 'run.aborted',
    data: { caught: 'between_steps', call_closed: false, settled_nano: 0 },
  };
  const ended = await write(deps, claimed, aborted, { type: 'finish', status: 'aborted' });
  deps.onActivations(ended.activations);
};

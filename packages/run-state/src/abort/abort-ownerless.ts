import { randomUUID } from 'node:crypto';
import { type EventDraft, newId } from '@signalbox/contracts';
import {
  abortReceipt,
  appendDrafts,
  apply,
  fold,
  type LlmStep,
  readEntry,
  type RunState,
} from '@signalbox/engine';
import type { Clock, Logger } from '@signalbox/runtime';
import { type Claimed, claimRun } from '../owner/claim.ts';
import { type CommitReply, commitRun } from '../owner/commit.ts';
import type { CostMetric } from '../metrics/cost-metric.ts';
import type { EndMetrics } from '../metrics/end-metrics.ts';
import { chargeLost, type LostCall } from '../owner/lost-call.ts';
import { noteDraft } from '../owner/note.ts';
import type { Partition } from '../redis/partition.ts';
import { type ActivationQueue, giveToQueue } from '../queue/queue.ts';

/**
 * Writes the end of an aborted run that nobody owns (One writer): claims it for the length of
 * one commit. A run with a live owner is left to it, and what fails here is left to the next claimer (R10).
 */

export interface AbortDeps {
  readonly partition: Partition;
  readonly queue: Pick<ActivationQueue, 'add'>;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly counters: EndMetrics & CostMetric;
  readonly build: string;
  /** Who writes. */
  readonly service: 'api' | 'scheduler';
}

/** Long enough for one commit, short enough that a crash of ours costs the run little. */
const LEASE_MS = 10_000;

/** Calls of a lost worker: those whose holds are open, and a free one without an end. */
const lostCalls = ({ steps }: RunState): LostCall[] =>
  steps
    .filter((step): step is LlmStep => step.kind === 'llm')
    .flatMap(({ step, attempts }) =>
      attempts
        .filter(({ hold, settlement, endedAt }) => (hold === null ? endedAt : settlement) === null)
        .map(({ attempt, model, hold }) => ({ step, attempt, model, hold })),
    );

/** What is still to be written, and the state it leads to. */
const composeEnd = (deps: AbortDeps, run: Claimed) => {
  const state = fold(run.entries.map(readEntry));
  const head = { seq: state.seq, hash: state.hash };
  const context = {
    runId: run.runId,
    epoch: run.epoch,
    ts: new Date(deps.clock.now()).toISOString(),
    actor: { type: 'system', id: deps.service } as const,
  };
  const lost = lostCalls(state);
  const resumed = state.status === 'running';
  const claimed: EventDraft = {
    type: 'run.claimed',
    data: { worker: deps.service, wake_seq: run.wakeSeq, resumed, build: deps.build },
  };
  const { drafts, settlements } = chargeLost(lost);
  const results = appendDrafts(head, [claimed, ...run.notes.map(noteDraft), ...drafts], context);
  for (const event of results.events) apply(state, event);
  const end = appendDrafts(results.head, [{ type: 'run.aborted', data: abortReceipt(state) }], context);
  for (const event of end.events) apply(state, event);
  return { head, results: results.entries, settlements, lost, end: end.entries, state };
};

const commitEnd = async (deps: AbortDeps, run: Claimed): Promise<CommitReply> => {
  const { head, results, settlements, lost, end, state } = composeEnd(deps, run);
  const reply = await commitRun(deps.partition, {
    runId: run.runId,
    leaseId: run.leaseId,
    epoch: run.epoch,
    head,
    results: {
      entries: results,
      contents: [],
      settlements,
      notes: run.notes.length,
      progress: false,
    },
    announcement: {
      entries: end,
      contents: [],
      hold: null,
      after: { type: 'finish', status: 'aborted' },
    },
  });
  if (reply.code !== 'OK') return reply;
  deps.counters.runEnded(state, deps.clock.now());
  for (const { model, hold } of lost) if (hold !== null) deps.counters.charged(model, hold.amount_nano);
  return reply;
};

/** Resolves when the end is written or somebody else will write it. Throws `state_unavailable`. */
export const abortOwnerless = async (deps: AbortDeps, runId: string): Promise<void> => {
  const outcome = await claimRun(deps.partition, {
    runId,
    wakeSeq: null,
    leaseId: newId('lease'),
    token: randomUUID(),
    leaseMs: LEASE_MS,
  });
  if (outcome.type !== 'claimed') return;
  const reply = await commitEnd(deps, outcome.run);
  if (reply.code !== 'OK')
    deps.logger.warn('abort left to the next owner', { run_id: runId, code: reply.code });
  giveToQueue(deps, reply.activations);
};

/** Plays a run's owner through run state's own functions, as a worker would, one commit at a time. */
import { randomUUID } from 'node:crypto';
import {
  type AnswerContent,
  type EventData,
  type EventDraft,
  type Hold,
  newId,
  type SealedContent,
  SubmissionContent,
} from '@signalbox/contracts';
import { appendDrafts, fold, type Head, openingMessages, readEntry, requestDigest } from '@signalbox/engine';
import {
  type After,
  type Claimed,
  claimRun,
  commitRun,
  type CommitReply,
  type CommitSettlement,
  foundContent,
  openContent,
  publishDelta,
  sealContent,
} from '@signalbox/run-state';
import { digest } from '@signalbox/runtime';
import type { Harness } from './harness.ts';

const PRICE_VERSION = 'test';
const USAGE = { input_tokens: 10, output_tokens: 5, cache_read_tokens: 0, cache_write_tokens: 0 };

export interface RunWriter {
  readonly claimed: Claimed;
  readonly hold: Hold;
  /** Announces a model call: the first with its hold, unless it is free. */
  request(step: number, free?: boolean): Promise<CommitReply>;
  /** The call's result, and what comes next. */
  complete(step: number, text: string, end: boolean): Promise<CommitReply>;
  /** The next call was refused: `cost.denied`. */
  deny(data: EventData<'cost.denied'>): Promise<CommitReply>;
  delta(step: number, text: string): Promise<void>;
  park(dueMs: number): Promise<CommitReply>;
}

interface Written {
  readonly results?: readonly EventDraft[];
  readonly contents?: readonly SealedContent[];
  readonly settlements?: readonly CommitSettlement[];
  readonly announce?: readonly EventDraft[];
  readonly hold?: Hold | null;
  readonly after?: After;
}

export const own = async (
  h: Harness,
  runId: string,
  { leaseMs = 60_000, day = '2026-01-01' }: { leaseMs?: number; day?: string } = {},
): Promise<RunWriter> => {
  const { partition, keyring } = h.deps;
  const leaseId = newId('lease');
  const outcome = await claimRun(partition, { runId, wakeSeq: null, leaseId, token: randomUUID(), leaseMs });
  if (outcome.type !== 'claimed') throw new Error(`claim: ${JSON.stringify(outcome)}`);
  const { run } = outcome;
  const dataKey = keyring.unwrap(run.wrappedKey, runId);
  const state = fold(run.entries.map(readEntry));
  let head: Head = { seq: state.seq, hash: state.hash };
  const hold: Hold = {
    id: `${runId}:1:1`,
    amount_nano: 1_000_000,
    day,
    price_version: PRICE_VERSION,
  };

  const write = async (w: Written): Promise<CommitReply> => {
    const context = {
      runId,
      epoch: run.epoch,
      ts: new Date().toISOString(),
      actor: { type: 'system', id: 'test' } as const,
    };
    const results = appendDrafts(head, w.results ?? [], context);
    const announced = appendDrafts(results.head, w.announce ?? [], context);
    const reply = await commitRun(partition, {
      runId,
      leaseId,
      epoch: run.epoch,
      head,
      results: {
        entries: results.entries,
        contents: w.contents ?? [],
        settlements: w.settlements ?? [],
        notes: 0,
        progress: true,
      },
      announcement:
        announced.entries.length === 0
          ? null
          : {
              entries: announced.entries,
              contents: [],
              hold: w.hold ?? null,
              after: w.after ?? { type: 'go' },
            },
    });
    head = reply.head;
    return reply;
  };

  await write({
    results: [{ type: 'run.claimed', data: { worker: 'test', wake_seq: run.wakeSeq, resumed: false } }],
  });

  const sealed = run.contents.get(state.submissionRef) ?? '';
  const { input } = SubmissionContent.parse(
    openContent(dataKey, runId, [state.submissionRef, foundContent(sealed)]),
  );
  const first = requestDigest(state, openingMessages(input), (text) => digest(dataKey, text));

  const requested = (step: number, held: Hold | null): EventDraft => ({
    type: 'llm.requested',
    data: {
      step,
      attempt: 1,
      model: 'mock/echo',
      max_output_tokens: 100,
      input_bound: 100,
      temperature: null,
      tools: [],
      nudge: null,
      request_digest: step === 1 ? first : digest(dataKey, `step ${step}`),
      hold: held,
    },
  });

  const completed = (step: number, ref: string): EventDraft => ({
    type: 'llm.completed',
    data: {
      step,
      attempt: 1,
      model: 'mock/echo',
      settlement: step === 1 ? { hold_id: hold.id, observed_nano: 2_100_000, estimated: false } : null,
      usage: USAGE,
      duration_ms: 1,
      model_served: 'mock/echo',
      finish_reason: 'stop',
      tool_calls: [],
      output_valid: true,
      has_text: true,
      provider_request_id: null,
    },
    refs: { output: ref },
  });

  return {
    claimed: run,
    hold,
    request: (step, free = false) => {
      const held = step === 1 && !free ? hold : null;
      return write({ announce: [requested(step, held)], hold: held });
    },
    complete: (step, text, end) => {
      const answer: AnswerContent = { text, tool_calls: [] };
      const content = sealContent(dataKey, runId, answer);
      return write({
        results: [completed(step, content[0])],
        contents: [content],
        settlements: step === 1 ? [{ holdId: hold.id, observedNano: 2_100_000, expired: false }] : [],
        announce: end ? [{ type: 'run.succeeded', data: { steps: step }, refs: { output: content[0] } }] : [],
        after: { type: 'finish', status: 'succeeded' },
      });
    },
    deny: (data) => write({ results: [{ type: 'cost.denied', data }] }),
    delta: async (step, text) => {
      const [, sealed] = sealContent(dataKey, runId, text);
      await publishDelta(partition, runId, { step, sealed });
    },
    park: (dueMs) =>
      write({
        announce: [{ type: 'run.parked', data: { reason: 'timer', until: new Date(dueMs).toISOString() } }],
        after: { type: 'park', reason: 'timer', wakeSeq: run.wakeSeq, dueMs, capacity: null },
      }),
  };
};

/** A whole run of `steps` model calls. */
export const finish = async (h: Harness, runId: string, steps = 1): Promise<void> => {
  const writer = await own(h, runId);
  for (let step = 1; step <= steps; step += 1) {
    await writer.request(step);
    await writer.complete(step, `answer ${step}`, step === steps);
  }
};

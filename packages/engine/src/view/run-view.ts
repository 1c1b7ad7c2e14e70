import { type EventData, type Run, type SubmissionContent, toUsd } from '@signalbox/contracts';
import type { RunState } from '../run/state.ts';

export interface ViewContents {
  /** Null when the content is gone or may not be shown. */
  readonly submission: SubmissionContent | null;
  readonly output: string | null;
  /** An abort that was asked for and is not in the journal yet. */
  readonly abort?: EventData<'run.abort_requested'> | null;
  /** Since when what was said is erased. */
  readonly erasedAt?: string | null;
  /** Why what is there is not shown. */
  readonly error?: Run['content_error'];
}

/** Who asked for the abort and, once the run has ended by it, the receipt. */
const abortView = (state: RunState, pending: ViewContents['abort']): Run['abort'] => {
  const asked = state.abort ?? pending ?? null;
  if (asked === null) return null;
  const { requested_at, by, reason } = asked;
  const { aborted } = state;
  return {
    requested_at,
    by,
    reason,
    effective_at: aborted === null ? null : state.finishedAt,
    caught: aborted?.caught ?? null,
    call_closed: aborted?.call_closed ?? null,
    settled_usd: aborted === null ? null : toUsd(aborted.settled_nano),
  };
};

/** A run as the API shows it: a projection of the journal. */
export const runView = (state: RunState, contents: ViewContents): Run => {
  const { submitted, error } = state;
  return {
    id: state.runId,
    object: 'run',
    status: state.status,
    waiting_for: state.waitingFor,
    error:
      error === null
        ? null
        : {
            code: error.code,
            message: error.message,
            ...(error.step === undefined ? {} : { step: error.step }),
            ...(error.details === undefined ? {} : { details: error.details }),
          },
    agent: submitted.agent,
    user_id: submitted.user_id,
    session_id: submitted.session_id,
    metadata: contents.submission?.metadata ?? {},
    input: contents.submission?.input ?? null,
    output: contents.output,
    steps: state.steps.length,
    usage: state.usage,
    cost: {
      cap_usd: submitted.cap_nano === null ? null : toUsd(submitted.cap_nano),
      observed_usd: toUsd(state.observedNano),
      held_usd: toUsd(state.heldNano),
      estimated: state.estimated,
    },
    abort: abortView(state, contents.abort),
    epoch: state.epoch,
    parent_run_id: submitted.parent_run_id,
    forked_from: submitted.forked_from,
    created_at: state.createdAt,
    started_at: state.startedAt,
    finished_at: state.finishedAt,
    content_erased_at: contents.erasedAt ?? null,
    ...(contents.error === undefined ? {} : { content_error: contents.error }),
  };
};

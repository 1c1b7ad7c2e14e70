import type {
  EventData,
  FinishReason,
  Hold,
  Nano,
  Nudge,
  RunLimits,
  RunStatus,
  Settlement,
  TakenFrom,
  TerminalStatus,
  Usage,
  WaitReason,
} from '@signalbox/contracts';

/**
 * What a journal says about its run. Owned and changed by `fold` only, in place, so that folding one
 * more event costs the same at step 1,000 as at step 10; everybody else reads.
 */
export interface RunState {
  readonly runId: string;
  readonly submitted: EventData<'run.submitted'>;
  readonly limits: RunLimits;
  readonly submissionRef: string;
  readonly specRef: string;
  seq: number;
  hash: string;
  epoch: number;
  status: RunStatus;
  waitingFor: WaitReason | null;
  steps: StepState[];
  /** The model call whose answer is being worked on; null before the first. */
  turn: LlmStep | null;
  /** Tool steps of the current turn without a result yet. */
  openTools: number;
  /** Unusable answers in a row. */
  nudges: number;
  /** Position in [model, ...fallbacks]. */
  modelIndex: number;
  /** Failed attempts of the current step on the current model. */
  failures: number;
  usage: Usage;
  observedNano: number;
  heldNano: number;
  estimated: boolean;
  requestDigest: string;
  /** Milliseconds with an owner, by event times; queued, parked and ownerless time does not count. */
  activeMs: number;
  createdAt: string;
  startedAt: string | null;
  finishedAt: string | null;
  lastTs: string;
  /** The latest time the journal tells: of its events, or by the store's clock when a timer was due. */
  knownTime: string;
  /** The run waited too long. */
  expiredWait: { readonly reason: WaitReason; readonly since: string } | null;
  abort: EventData<'run.abort_requested'> | null;
  /** What the abort has stopped so far. */
  stopped: Stopped;
  /** The end of an aborted run. */
  aborted: EventData<'run.aborted'> | null;
  /** The last tool calls that were equal in name, arguments and result. */
  row: { readonly key: string; readonly length: number };
  /** Loops the model has not been told of. */
  loops: Loop[];
  /** Keys of the calls the model was warned of. */
  readonly warnedOf: string[];
  error: EventData<'run.failed'> | null;
  outputRef: string | null;
}

export interface Stopped {
  /** An open call was closed. */
  readonly closed: boolean;
  /** A lost worker's open call was charged and not made again. */
  readonly givenUp: boolean;
  /** What those calls were charged. */
  readonly nano: Nano;
}

/** Equal tool calls, too many in a row. */
export interface Loop {
  readonly key: string;
  /** The call that was one too many. */
  readonly step: number;
  readonly name: string;
  /** The model was told of this very call before. */
  readonly warned: boolean;
}

export interface Attempt {
  readonly attempt: number;
  readonly startedAt: string;
  readonly hold: Hold | null;
  /** Set where a fork took the step over. */
  readonly takenFrom: TakenFrom | null;
  endedAt: string | null;
  settlement: Settlement | null;
  code: string | null;
}

export interface LlmAttempt extends Attempt {
  readonly model: string;
  /** It may answer with fewer tokens than the run allows, to fit under a cap. */
  readonly limitLowered: boolean;
  readonly nudge: Nudge | null;
  usage: Usage | null;
}

export interface LlmStep {
  readonly kind: 'llm';
  readonly step: number;
  readonly attempts: LlmAttempt[];
  /** `open`: announced, no result. `again`: to be tried once more. */
  status: 'open' | 'completed' | 'again' | 'given_up';
  retryAt: string | null;
  /** What the last failed attempt said, redacted. */
  failure: string | null;
  finishReason: FinishReason | null;
  calls: EventData<'llm.completed'>['tool_calls'];
  hasText: boolean;
  outputValid: boolean;
  outputRef: string | null;
  /** Tool steps of this answer, in call order. */
  tools: ToolStep[];
}

export interface ToolStep {
  readonly kind: 'tool';
  readonly step: number;
  readonly callId: string;
  readonly name: string;
  readonly repeatable: boolean;
  readonly idempotencyKey: string;
  readonly dueAt: string | null;
  readonly argsDigest: string;
  readonly attempts: Attempt[];
  status: 'open' | 'completed' | 'failed';
  resultDigest: string | null;
  resultRef: string | null;
}

export type StepState = LlmStep | ToolStep;

export const isEnded = (state: RunState): state is RunState & { status: TerminalStatus } =>
  state.finishedAt !== null;

export const lastAttempt = <A extends Attempt>(step: {
  readonly attempts: readonly A[];
  readonly step: number;
}): A => {
  const attempt = step.attempts.at(-1);
  if (attempt === undefined) throw new Error(`step ${step.step} has no attempt`);
  return attempt;
};

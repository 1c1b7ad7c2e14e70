import {
  type FORK_CHANGES,
  type ForkRequest,
  type Json,
  type Principal,
  StepOutput,
  type StoredRun,
} from '@signalbox/contracts';
import { fold, forkJournal, type ForkPoint, forkProblem, readEntry, type RunState } from '@signalbox/engine';
import { wellFormedDeep } from '@signalbox/runtime';
import type { RunPlan } from './begin-run.ts';
import { createRun, type CreateDeps, type Created } from './create-run.ts';
import { foldRun, unbrokenEvents } from '../runs/fold-run.ts';
import type { IdempotentRequest } from './idempotency.ts';
import { orRepeated } from './repeated.ts';
import { openRecording } from '../replays/replay-stored.ts';
import type { ResolvedAgent } from '../agents/resolve-agent.ts';
import { invalidRequest } from '../http/validation.ts';

/** A run of its own that begins with the steps of another one (engine/fork.ts), changed from there on. */

export interface ForkOrder {
  readonly principal: Principal;
  readonly origin: StoredRun;
  readonly request: ForkRequest;
  readonly idempotent: IdempotentRequest | null;
  readonly traceparent: string | null;
}

type Changes = ForkRequest['changes'];

const toText = (output: Json): string => (typeof output === 'string' ? output : JSON.stringify(output));

const pointOf = ({ from_step: fromStep, changes: { tool_output: given } }: ForkRequest): ForkPoint => {
  if (given === undefined) return { fromStep, toolOutput: null };
  const targeted = StepOutput.safeParse(given);
  const toolOutput = targeted.success
    ? { step: targeted.data.step, text: toText(targeted.data.output) }
    : { step: fromStep, text: toText(given) };
  return { fromStep, toolOutput };
};

const checkPoint = (state: RunState, point: ForkPoint, { input }: Changes): void => {
  const problem = forkProblem(state, point);
  if (problem !== null) {
    const path = problem.field === 'from_step' ? problem.field : `changes.${problem.field}`;
    throw invalidRequest([{ path, message: problem.message }]);
  }
  if (input === undefined || point.fromStep === 1) return;
  const message = 'the steps that are taken over answered the recorded input; to change it, fork from step 1';
  throw invalidRequest([{ path: 'changes.input', message }]);
};

/** With another model or other instructions it is an agent without a name: no version of the named one is like it. */
const agentOf = (
  { submitted }: RunState,
  spec: ResolvedAgent['spec'],
  { model, instructions }: Changes,
): ResolvedAgent => {
  if (model === undefined && instructions === undefined) return { ...submitted.agent, spec };
  const changed = {
    ...spec,
    model: model ?? spec.model,
    instructions: instructions ?? spec.instructions,
  };
  return { name: null, version: null, spec: changed };
};

const limitsOf = ({ limits, submitted }: RunState, changed: Changes['limits'] = {}) => ({
  limits: { ...limits, ...changed },
  // A cap that is not named stays, like every other limit.
  caps: changed.cost_usd === undefined ? [submitted.cap_nano] : [],
});

const originOf = (runId: string, { from_step, changes }: ForkRequest): RunPlan['origin'] => ({
  forked_from: runId,
  fork: { from_step, changed: Object.keys(changes) as (typeof FORK_CHANGES)[number][] },
});

const makeFork = async (deps: CreateDeps, order: ForkOrder): Promise<Created> => {
  const { principal, origin, idempotent, traceparent } = order;
  const request = wellFormedDeep(order.request as Parameters<typeof wellFormedDeep>[0]) as ForkRequest;
  const { changes } = request;
  const events = unbrokenEvents(origin);
  const state = foldRun(origin, events);
  const point = pointOf(request);
  checkPoint(state, point, changes);
  const { submission, spec, contents } = openRecording(deps.keyring, origin, events);
  const { user_id, session_id, priority } = state.submitted;
  return createRun(deps, {
    principal,
    agent: agentOf(state, spec, changes),
    submission: { ...submission, input: changes.input ?? submission.input, user_id, session_id, priority },
    ...limitsOf(state, changes.limits),
    idempotent,
    traceparent,
    at: { spec: 'changes', limits: 'changes.limits' },
    origin: originOf(origin.runId, request),
    begin: (run) => {
      const begun = forkJournal({ state, events, contents }, point, run);
      return { ...begun, state: fold(begun.entries.map(readEntry)) };
    },
  });
};

/** Throws `content_erased`, `journal_broken`, then nothing was written; and like `createRun`. */
export const forkRun = (deps: CreateDeps, order: ForkOrder): Promise<Created> =>
  orRepeated(deps, order, () => makeFork(deps, order));

import type { EventDraft, ToolResultContent } from '@signalbox/contracts';
import { type Action, type CallTool, redactText, type ToolStep } from '@signalbox/engine';
import { wellFormed } from '@signalbox/runtime';
import type { RunContext } from './run-context.ts';
import { RunLostError } from './session.ts';
import { callSignal } from './stop.ts';
import { type PlannedCall, ToolError, WAIT_OVER } from './tools/index.ts';

/**
 * The tool calls of one answer, side by side. All are announced in one write (R3); each result is written as
 * it arrives, under its call id, so a crash repeats only what has no result (R6).
 */
type CallTools = Extract<Action, { type: 'call_tools' }>;

interface Planned {
  readonly call: CallTool;
  readonly plan: PlannedCall;
  readonly idempotencyKey: string;
}

const MAX_RESULT_CHARS = 100_000;

const planAll = (context: RunContext, action: CallTools): Planned[] => {
  const { session, toolbox, toolNames, clock, spec } = context;
  const outputRef = session.state.turn?.outputRef ?? null;
  const answer = outputRef === null ? null : session.contents.answer(outputRef);
  return action.calls.map((call) => {
    const asked = answer?.tool_calls.find((one) => one.id === call.callId) ?? {
      name: call.name,
      arguments: '',
    };
    const plan = toolbox.plan(asked, { allowed: toolNames, truncated: call.truncated, nowMs: clock.now() });
    const declared = spec.tools.some(
      (entry) => typeof entry === 'object' && entry.name === asked.name && entry.repeatable,
    );
    return {
      call,
      plan: declared ? { ...plan, repeatable: true } : plan,
      idempotencyKey: `${session.runId}:${call.step}:${call.callId}`,
    };
  });
};

const requested = ({ call, plan, idempotencyKey }: Planned): EventDraft => ({
  type: 'tool.requested',
  data: {
    step: call.step,
    attempt: call.attempt,
    call_id: call.callId,
    name: call.name,
    repeatable: plan.repeatable,
    idempotency_key: idempotencyKey,
    due_at: plan.dueAt === null ? null : new Date(plan.dueAt).toISOString(),
  },
});

interface Outcome {
  readonly text: string;
  readonly code: string | null;
  readonly ms: number;
}

const recordResult = (
  context: RunContext,
  call: Pick<CallTool, 'step' | 'attempt' | 'callId' | 'name'>,
  outcome: Outcome,
): void => {
  const { session, metrics } = context;
  // Cut first: a cut can split a character in half.
  const text = wellFormed(outcome.text.slice(0, MAX_RESULT_CHARS));
  const content: ToolResultContent = { text, is_error: outcome.code !== null };
  const sealed = session.seal(content);
  const data = {
    step: call.step,
    attempt: call.attempt,
    call_id: call.callId,
    name: call.name,
    duration_ms: outcome.ms,
    result_digest: session.digest(text),
  };
  const refs = { result: sealed[0] };
  const draft: EventDraft =
    outcome.code === null
      ? { type: 'tool.completed', refs, data }
      : { type: 'tool.failed', refs, data: { ...data, code: outcome.code } };
  session.record([draft], { contents: [sealed], progress: true });
  const known = context.toolNames.includes(call.name) ? call.name : 'unknown';
  metrics.toolEnded(known, { outcome: outcome.code ?? 'ok', ms: outcome.ms });
};

/** A tool that ignores its signal is left behind: its result no longer counts. */
const untilStopped = <T>(work: Promise<T>, signal: AbortSignal): Promise<T> =>
  new Promise((resolve, reject) => {
    const onAbort = (): void => reject(new Error('stopped'));
    signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });

const messageOf = (error: unknown): string =>
  redactText(error instanceof Error ? error.message : String(error)).slice(0, 2000);

const execute = async (context: RunContext, { call, plan, idempotencyKey }: Planned): Promise<Outcome> => {
  const { clock, session, spans } = context;
  const stop = callSignal(context, Math.min(context.remainingMs(), plan.timeoutMs));
  const startedAt = clock.monotonic();
  const ms = (): number => Math.round(clock.monotonic() - startedAt);
  try {
    context.checkLease();
    const work = spans.tool({ name: call.name, callId: call.callId }, () =>
      plan.run({ signal: stop.signal, idempotencyKey, clock }),
    );
    return { text: await untilStopped(work, stop.signal), code: null, ms: ms() };
  } catch (error) {
    if (session.identity.lost.aborted || error instanceof RunLostError)
      throw new RunLostError(`run ${session.runId}: lost while ${call.name} ran`);
    const reason = stop.reason();
    if (reason === 'aborted') return { text: 'The run was stopped.', code: 'aborted', ms: ms() };
    if (reason === 'timeout')
      return { text: `The tool did not answer within ${ms()} ms.`, code: 'timeout', ms: ms() };
    return { text: messageOf(error), code: error instanceof ToolError ? error.code : 'tool_error', ms: ms() };
  } finally {
    stop.dispose();
  }
};

const runAll = async (context: RunContext, planned: readonly Planned[]): Promise<void> => {
  let left = planned.length;
  const startedAt = context.clock.monotonic();
  const outcomes = await Promise.allSettled(
    planned.map(async (one) => {
      const outcome = await execute(context, one);
      recordResult(context, one.call, outcome);
      left -= 1;
      // The last result goes with the announcement of what follows it.
      if (left > 0) await context.session.flush();
    }),
  );
  context.spentOutside(context.clock.monotonic() - startedAt);
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
};

/** Announces and runs the calls; returns when all but the waits have their results. */
export const callTools = async (context: RunContext, action: CallTools): Promise<void> => {
  const planned = planAll(context, action);
  const reply = await context.session.announce(planned.map(requested));
  if (reply.code !== 'OK') return;
  await runAll(
    context,
    planned.filter(({ plan }) => plan.dueAt === null),
  );
};

/** Waits whose time has come get their result. */
export const endWaits = (context: RunContext, steps: readonly ToolStep[]): void => {
  for (const step of steps) {
    const call = { step: step.step, attempt: step.attempts.length, callId: step.callId, name: step.name };
    recordResult(context, call, { text: WAIT_OVER, code: null, ms: 0 });
  }
};

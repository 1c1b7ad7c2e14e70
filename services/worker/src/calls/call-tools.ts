import type { EventDraft, ToolResultContent } from '@signalbox/contracts';
import { type Action, type CallTool, idempotencyKey, type ToolStep, toolRequested } from '@signalbox/engine';
import { messageOf, wellFormed } from '@signalbox/runtime';
import { parkUnderPressure } from '../end/endings.ts';
import type { RunContext } from '../run/run-context.ts';
import { RunLostError } from '../run/session.ts';
import { type PlannedCall, ToolError, WAIT_OVER } from '../tools/index.ts';
import { cutToFit } from '../tools/cut-to-fit.ts';

/**
 * The tool calls of one answer, side by side. All are announced in one write (R3); each result is written as
 * it arrives, under its call id, so a crash repeats only what has no result (R6).
 *
 * R3 is there for effects, and inline calls have none. An answer that asks for nothing else goes to the store in one
 * write with its calls, their results and the announcement of what follows. Of a run of such steps that spares two
 * writes in five and a tenth of its processor time.
 */

type CallTools = Extract<Action, { type: 'call_tools' }>;

interface Planned {
  readonly call: CallTool;
  readonly plan: PlannedCall;
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
    return { call, plan: declared ? { ...plan, repeatable: true } : plan };
  });
};

const areInline = (planned: readonly Planned[]): boolean => planned.every(({ plan }) => plan.inline);

const requested = ({ session }: RunContext, { call, plan }: Planned): EventDraft =>
  toolRequested(session.state, call, {
    repeatable: plan.repeatable,
    due_at: plan.dueAt === null ? null : new Date(plan.dueAt).toISOString(),
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
  const text = wellFormed(cutToFit(outcome.text, MAX_RESULT_CHARS));
  const content: ToolResultContent = { text, is_error: outcome.code !== null };
  const sealed = session.contents.seal(content);
  const data = {
    step: call.step,
    attempt: call.attempt,
    call_id: call.callId,
    name: call.name,
    duration_ms: outcome.ms,
    result_digest: session.contents.digest(text),
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
    if (signal.aborted) onAbort();
    else signal.addEventListener('abort', onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', onAbort));
  });

const INTERRUPTED = 'The tool was interrupted before it answered; it is not known whether it took effect.';

const MAX_REASON_CHARS = 2000;
/** So much is looked at for secrets: enough that none is cut in two where the reason ends. */
const MAX_TOLD_CHARS = 20_000;

/** Never empty: Anthropic refuses an error result without a word. Where all of several failed, the first says why. */
const shown = ({ redactor }: RunContext, error: unknown): string => {
  const told = error instanceof AggregateError && error.message === '' ? (error.errors[0] ?? error) : error;
  const text = redactor.text(messageOf(told).slice(0, MAX_TOLD_CHARS)).slice(0, MAX_REASON_CHARS);
  return text.trim() === '' ? 'The tool failed and did not say why.' : text;
};

/** Null: cut off because the worker must go. It stays open, and its next owner makes it again under the same key. */
const execute = async (context: RunContext, { call, plan }: Planned): Promise<Outcome | null> => {
  const { clock, session, spans } = context;
  const stop = context.stops.open(Math.min(context.remainingMs(), plan.timeoutMs));
  const startedAt = clock.monotonic();
  const ms = (): number => Math.round(clock.monotonic() - startedAt);
  try {
    session.checkLease();
    const work = spans.tool({ name: call.name, callId: call.callId }, () =>
      plan.run({ signal: stop.signal, idempotencyKey: idempotencyKey(session.runId, call), clock }),
    );
    return { text: await untilStopped(work, stop.signal), code: null, ms: ms() };
  } catch (error) {
    if (session.identity.lost.aborted || error instanceof RunLostError)
      throw new RunLostError(`run ${session.runId}: lost while ${call.name} ran`);
    const reason = stop.reason();
    if (reason === 'aborted') return { text: 'The run was stopped.', code: 'aborted', ms: ms() };
    if (reason === 'timeout')
      return { text: `The tool did not answer within ${ms()} ms.`, code: 'timeout', ms: ms() };
    if (reason === 'worker_stopped')
      return plan.repeatable ? null : { text: INTERRUPTED, code: 'interrupted', ms: ms() };
    const code = error instanceof ToolError ? error.code : 'tool_error';
    return { text: shown(context, error), code, ms: ms() };
  } finally {
    stop.dispose();
  }
};

const runAll = async (context: RunContext, planned: readonly Planned[]): Promise<void> => {
  const inline = areInline(planned);
  let left = planned.length;
  const startedAt = context.clock.monotonic();
  const outcomes = await Promise.allSettled(
    planned.map(async (one) => {
      const outcome = await execute(context, one);
      if (outcome !== null) recordResult(context, one.call, outcome);
      left -= 1;
      // The last result goes with the announcement of what follows it.
      if (left > 0 && !inline) await context.session.flush();
    }),
  );
  context.spentOutside(context.clock.monotonic() - startedAt);
  const failed = outcomes.find((outcome) => outcome.status === 'rejected');
  if (failed !== undefined) throw failed.reason;
};

/** False: they must not be made. */
const announceCalls = async (context: RunContext, planned: readonly Planned[]): Promise<boolean> => {
  const { session } = context;
  const drafts = planned.map((one) => requested(context, one));
  if (areInline(planned)) {
    session.record(drafts);
    return true;
  }
  const wakeSeq = session.parkSeq();
  const reply = await session.announce(drafts);
  if (reply.code === 'PRESSURE') await parkUnderPressure(context, wakeSeq);
  return reply.code === 'OK';
};

/** Announces and runs the calls; returns when all but the waits, and those cut off, have their results. */
export const callTools = async (context: RunContext, action: CallTools): Promise<void> => {
  const planned = planAll(context, action);
  if (!(await announceCalls(context, planned))) return;
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

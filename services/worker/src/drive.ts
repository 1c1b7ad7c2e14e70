import { type Action, next } from '@signalbox/engine';
import { callModel } from './call-model.ts';
import { callTools, endWaits } from './call-tools.ts';
import { abortRun, failRun, handOver, parkRun, succeedRun } from './endings.ts';
import { expireCall } from './expire-call.ts';
import type { RunContext } from './run-context.ts';

/**
 * The one loop (design §2): fold, next, act, until the run ends, parks or is handed over. Live and resumed
 * runs go through it alike.
 */
type CallModelAction = Extract<Action, { type: 'call_model' }>;

/** A pause longer than this gives the slot back. */
const LONGEST_PAUSE_MS = 5000;

const startsWork = (action: Action): boolean => action.type === 'call_model' || action.type === 'call_tools';

/** False: the run was parked until the call is due, or something happened meanwhile. */
const waitUntilDue = async (context: RunContext, action: CallModelAction): Promise<boolean> => {
  if (action.notBefore === null) return true;
  const { clock, session, aborted } = context;
  const ms = Date.parse(action.notBefore) - clock.now();
  if (ms <= 0) return true;
  if (ms > LONGEST_PAUSE_MS) {
    await parkRun(context, action.notBefore);
    return false;
  }
  await session.flush();
  await clock.sleep(ms, AbortSignal.any([aborted, session.identity.lost])).catch(() => undefined);
  if (aborted.aborted) {
    await session.refresh();
    return false;
  }
  return true;
};

const callWhenDue = async (context: RunContext, action: CallModelAction): Promise<void> => {
  if (await waitUntilDue(context, action)) await callModel(context, action);
};

const act = async (context: RunContext, action: Action): Promise<unknown> => {
  switch (action.type) {
    case 'call_model':
      return callWhenDue(context, action);
    case 'call_tools':
      return callTools(context, action);
    case 'end_wait':
      return endWaits(context, action.steps);
    case 'expire_call':
      return expireCall(context, action.step);
    case 'park':
      return parkRun(context, action.until);
    case 'succeed':
      return succeedRun(context);
    case 'fail':
      return failRun(context, action.code, action.message, { step: action.failedStep });
    case 'abort':
      return abortRun(context);
    case 'none':
      return undefined;
  }
};

/** Works on a run until it is no longer ours. Throws `RunLostError` when the store refused a write. */
export const drive = async (context: RunContext): Promise<void> => {
  const { session, clock, metrics } = context;
  while (!session.released) {
    const startedAt = clock.monotonic();
    await session.absorbNotes();
    const action = next(session.state);
    if (startsWork(action) && context.draining()) await handOver(context, 'drain');
    else await act(context, action);
    metrics.stepOverhead(Math.max(0, clock.monotonic() - startedAt - context.takeOutside()));
  }
};

import type { EventData } from '@signalbox/contracts';
import { type Action, type CallModel, next, startsWork } from '@signalbox/engine';
import { othersWait } from '@signalbox/run-state';
import { pause } from '@signalbox/runtime';
import { callModel } from './calls/call-model.ts';
import { callTools, endWaits } from './calls/call-tools.ts';
import { abortRun, failRun, handOver, parkRun, succeedRun } from './end/endings.ts';
import { expireCall } from './calls/expire-call.ts';
import type { RunContext } from './run/run-context.ts';

/**
 * The one loop: fold, next, act, until the run ends, parks or is handed over. Live and resumed
 * runs go through it alike.
 */

/** A pause longer than this gives the slot back. */
const LONGEST_PAUSE_MS = 5000;

/** Why no new step is begun here; null when it is. */
const reasonToLetGo = async (context: RunContext): Promise<EventData<'run.handed_over'>['reason'] | null> => {
  const { stopping, session, partition, logger } = context;
  if (stopping.aborted) return 'drain';
  if (!context.sliceOver()) return null;
  const { tenant_id: tenantId, user_id: userId } = session.state.submitted;
  try {
    return (await othersWait(partition, { tenantId, userId })) ? 'time_slice' : null;
  } catch (error) {
    logger.warn('not known whether others wait; the run goes on', { run_id: session.runId, error });
    return null;
  }
};

/** False: the run was parked until the call is due, or something happened meanwhile. */
const waitUntilDue = async (context: RunContext, action: CallModel): Promise<boolean> => {
  if (action.notBefore === null) return true;
  const { clock, session, aborted, stopping } = context;
  // A timer that the store found due is due, also where this process's clock is behind.
  const now = Math.max(clock.now(), Date.parse(session.state.knownTime));
  const ms = Date.parse(action.notBefore) - now;
  if (ms <= 0) return true;
  if (ms > LONGEST_PAUSE_MS) {
    await parkRun(context, action.notBefore);
    return false;
  }
  await session.flush();
  const sleptFrom = clock.monotonic();
  await pause(clock, ms, AbortSignal.any([aborted, session.identity.lost, stopping]));
  context.spentOutside(clock.monotonic() - sleptFrom);
  if (aborted.aborted) {
    await session.refresh();
    return false;
  }
  return !stopping.aborted;
};

const callWhenDue = async (context: RunContext, action: CallModel): Promise<void> => {
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
    const reason = startsWork(action) ? await reasonToLetGo(context) : null;
    if (reason === null) await act(context, action);
    else await handOver(context, reason);
    metrics.stepOverhead(Math.max(0, clock.monotonic() - startedAt - context.takeOutside()));
  }
};

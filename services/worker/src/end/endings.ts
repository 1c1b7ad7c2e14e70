import type { ErrorCode, EventData, EventDraft, Json, TerminalStatus } from '@signalbox/contracts';
import { abortReceipt, succeeded } from '@signalbox/engine';
import { expireCall } from '../calls/expire-call.ts';
import type { RunContext } from '../run/run-context.ts';

/** What it takes to end a run: less than to work on it, so that a damaged one can be ended too. */
export type Ending = Pick<RunContext, 'session' | 'metrics' | 'clock'>;

/** How a run ends or lets go. Each is an announcement: refused, it has not happened and the loop looks again. */
const finish = async (
  context: Ending,
  drafts: readonly EventDraft[],
  status: TerminalStatus,
): Promise<boolean> => {
  const { session, metrics, clock } = context;
  const reply = await session.announce(drafts, { after: { type: 'finish', status } });
  if (reply.code !== 'OK') return false;
  metrics.runEnded(session.state, clock.now());
  return true;
};

export const succeedRun = (context: Ending): Promise<boolean> =>
  finish(context, [succeeded(context.session.state)], 'succeeded');

export interface FailOptions {
  readonly step?: number | undefined;
  /** Events that explain the failure. */
  readonly before?: readonly EventDraft[];
  readonly details?: Record<string, Json>;
}

export const failRun = (
  context: Ending,
  code: ErrorCode,
  message: string,
  options: FailOptions = {},
): Promise<boolean> => {
  const { step, before = [], details } = options;
  const data: EventData<'run.failed'> = {
    code,
    message,
    ...(step === undefined ? {} : { step }),
    ...(details === undefined ? {} : { details }),
  };
  return finish(context, [...before, { type: 'run.failed', data }], 'failed');
};

export const abortRun = async (context: Ending): Promise<boolean> => {
  const { session } = context;
  // Who asked stands before the end, also where the flag was only seen as a refused write.
  await session.absorbNotes();
  // What broke may have left its call open; nothing can be settled after the end (R2, R7).
  const { turn } = session.state;
  if (turn?.status === 'open') expireCall(context, turn);
  return finish(context, [{ type: 'run.aborted', data: abortReceipt(session.state) }], 'aborted');
};

export const parkRun = async (context: Ending, until: string | null): Promise<boolean> => {
  const { session } = context;
  const reply = await session.announce([{ type: 'run.parked', data: { reason: 'timer', until } }], {
    after: {
      type: 'park',
      reason: 'timer',
      wakeSeq: session.parkSeq(),
      dueMs: until === null ? null : Date.parse(until),
      capacity: null,
    },
  });
  return reply.code === 'OK';
};

/** No call may be announced until Postgres has caught up (R9); the scheduler wakes it then. */
export const parkUnderPressure = async (context: Ending, wakeSeq: number): Promise<void> => {
  const data = { reason: 'capacity', until: null, cause: 'audit_backlog' } as const;
  await context.session.announce([{ type: 'run.parked', data }], {
    after: { type: 'park', reason: 'capacity', wakeSeq, dueMs: null, capacity: null, pressure: true },
  });
};

export const handOver = async (
  context: Ending,
  reason: EventData<'run.handed_over'>['reason'],
): Promise<boolean> => {
  const reply = await context.session.announce([{ type: 'run.handed_over', data: { reason } }], {
    after: { type: 'hand_over', failed: reason === 'error' },
  });
  return reply.code === 'OK';
};

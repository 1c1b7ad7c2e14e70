import type { EventData } from '@signalbox/contracts';
import type { RunState } from './state.ts';

/** A call that was announced and has no result: its worker was lost. A `wait` is no call. */
const hasLostCall = ({ turn }: RunState): boolean =>
  turn !== null &&
  (turn.status === 'open' || turn.tools.some((tool) => tool.status === 'open' && tool.dueAt === null));

/**
 * What an abort did to a run, for `run.aborted` by whoever writes the end (Abort). The state is
 * that of just before: with the results of the calls the abort closed, and the charges of those it gave up.
 */
export const abortReceipt = (state: RunState): EventData<'run.aborted'> => {
  const { closed, givenUp, nano } = state.stopped;
  const between = state.turn === null ? 'before_start' : 'between_steps';
  return {
    caught: closed || givenUp || hasLostCall(state) ? 'in_flight' : between,
    call_closed: closed,
    settled_nano: nano,
  };
};

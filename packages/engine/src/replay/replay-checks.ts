import type { Divergence, Event, EventOf } from '@signalbox/contracts';
import { answer, modelCall, result, toolCalls } from './replay-calls.ts';
import { aborted, failure, parked, success } from './replay-ends.ts';
import type { ReplayPoint } from './replay-point.ts';

export type Check<E extends Event = Event> = (at: ReplayPoint, event: E) => Iterable<Divergence>;

/**
 * What each recorded event is compared with, given the state before it. Events that are not here came from outside:
 * other processes, providers, tools, money, time (R12). Steps that a fork took over were decided in another run: only
 * what they say of their contents is looked at.
 */
export const CHECKS: { readonly [T in Event['type']]?: Check<EventOf<T>> } = {
  'llm.requested': modelCall,
  'llm.completed': answer,
  'tool.requested': toolCalls,
  'tool.completed': result,
  'tool.failed': result,
  'run.parked': parked,
  'run.succeeded': success,
  'run.failed': failure,
  'run.aborted': aborted,
};

import type { Event } from '@signalbox/contracts';
import type { Recording } from './recording.ts';
import type { RunState } from '../run/state.ts';

/** A recorded event in the place where it is replayed, with the state before it. */
export interface ReplayPoint {
  readonly events: readonly Event[];
  readonly index: number;
  readonly state: RunState;
  readonly recording: Recording;
}

export const lastStep = ({ steps }: RunState): number => steps.length;

import { isTerminal, type Retention, type RunStatus } from '@signalbox/contracts';

/**
 * Which contents are past the time that they are kept. What was said goes when its own period is over, or with the
 * period of the events that name it; what was said in a run that goes on stays, whatever the periods say. What is
 * under legal hold the store neither offers nor erases.
 */

const DAY_MS = 86_400_000;

/** `defaultEventDays` counts for a tenant that has set none. Null: for ever. */
export const contentPeriodDays = (own: Retention, defaultEventDays: number | null): number | null => {
  const events = own.event_days ?? defaultEventDays;
  if (own.content_days === null) return events;
  return events === null ? own.content_days : Math.min(own.content_days, events);
};

export interface RunEnd {
  readonly status: RunStatus;
  /** Null: it goes on. */
  readonly finishedMs: number | null;
}

export const isContentDue = (
  { status, finishedMs }: RunEnd,
  periodDays: number | null,
  nowMs: number,
): boolean => {
  if (finishedMs === null || periodDays === null || !isTerminal(status)) return false;
  return finishedMs + periodDays * DAY_MS <= nowMs;
};

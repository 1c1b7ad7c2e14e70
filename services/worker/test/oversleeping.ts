import { type Clock, systemClock } from '@signalbox/runtime';

const DAYS = 1_000_000_000;

/**
 * A clock on which who sleeps for a retry sleeps for days, unless told to stop: that nobody waited is then no question
 * of speed.
 */
export const oversleeping: Clock = {
  ...systemClock,
  sleep: (ms, signal) => systemClock.sleep(ms < 1000 ? ms : DAYS, signal),
};

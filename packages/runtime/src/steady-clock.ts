import type { Clock } from './clock.ts';

/** Of what lasts: its wall time is told once, now, and goes on as the monotonic clock does, whatever is set meanwhile. */
export const steadyClock = (clock: Clock): Clock => {
  const offset = clock.now() - clock.monotonic();
  return {
    now: () => Math.round(offset + clock.monotonic()),
    monotonic: () => clock.monotonic(),
    sleep: (ms, signal) => clock.sleep(ms, signal),
  };
};

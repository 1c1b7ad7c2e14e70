export interface BackoffOptions {
  /** Delay around which the first retry happens, ms. */
  readonly baseMs: number;
  /** No delay is longer, ms. */
  readonly capMs: number;
  /** Uniform in [0, 1), for example Math.random. */
  readonly random: () => number;
}

/**
 * How long to wait before retry number `attempt` (1, 2, ...), in ms: doubles each time up to the cap, and is spread
 * evenly over the upper half of that ("equal jitter"), so that many clients that failed together come back apart and
 * none comes back at once.
 */
export function backoffMs(attempt: number, { baseMs, capMs, random }: BackoffOptions): number {
  const ceiling = Math.min(capMs, baseMs * 2 ** Math.max(0, attempt - 1));
  return ceiling / 2 + (ceiling / 2) * random();
}

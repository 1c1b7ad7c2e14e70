import { SignalboxError } from '@signalbox/contracts';

/**
 * Pressure (R9): what Postgres has not taken yet fills Redis, so new runs are refused, then running ones park;
 * see lua/lib/pressure.lua for the levels.
 */

interface Pressure {
  /** Commits that wait for Postgres, and how many may. */
  readonly backlog: number;
  readonly limit: number;
  /** Of maxmemory; 0 without one. */
  readonly share: number;
}

const RETRY_AFTER_SECONDS = 10;

/** What a submitter is told. */
export const refusedByPressure = ({ backlog, limit, share }: Pressure): SignalboxError => {
  const why =
    backlog >= limit
      ? `${backlog} commits wait to be stored in Postgres and ${limit} may`
      : `run state fills ${Math.floor(share * 100)} % of its memory, with ${backlog} commits that wait to be stored in Postgres`;
  return new SignalboxError('audit_backlog', `${why}, so no new run is taken. Try again later.`, {
    retryAfter: RETRY_AFTER_SECONDS,
  });
};

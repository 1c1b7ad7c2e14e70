/**
 * Runs by the time they were made. No index holds that time, but every one that a list goes by ends with the id, and
 * ids are in the order of time: bounds of theirs keep a list of an old period from walking through all made since.
 */
import { type RawBuilder, sql } from 'kysely';

/** The id and the time are told one after the other on one host; its clock may be set in between. */
const SLACK_MS = 3_600_000;

/** No id is older than the epoch, and before it `first_run_id_at` has no order. */
const firstIdAt = (ms: number): RawBuilder<string> =>
  sql`first_run_id_at(${new Date(Math.max(0, ms))}::timestamptz at time zone 'UTC')`;

/** A condition on `runs`: made from this instant (RFC 3339) on. */
export const createdFrom = (instant: string): RawBuilder<boolean> =>
  sql`(created_at >= ${new Date(instant)} and id >= ${firstIdAt(Date.parse(instant) - SLACK_MS)})`;

/** A condition on `runs`: made before this instant (RFC 3339). */
export const createdBefore = (instant: string): RawBuilder<boolean> =>
  sql`(created_at < ${new Date(instant)} and id < ${firstIdAt(Date.parse(instant) + SLACK_MS)})`;

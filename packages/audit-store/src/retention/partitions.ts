/**
 * The months of audit_events: made ahead, and detached when they are older than any tenant in them wants (retention.ts).
 * Detached ones stay as tables (audit_detached_YYYY_MM) until a person exports and drops them.
 */
import { MIN_EVENT_DAYS } from '@signalbox/contracts';
import { type RawBuilder, sql } from 'kysely';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';

/** This month and the two behind it, so that a scheduler may be away for weeks. */
const MONTHS = 3;

/** Makes the coming partitions of audit_events. Answers how many were new. Throws `audit_store_unavailable`. */
export const ensurePartitions = (db: Db, now: Date): Promise<number> =>
  reaching(async () => {
    const { rows } = await sql<{ made: number }>`
      select ensure_audit_partitions(${now}::timestamptz, ${MONTHS}) as made`.execute(db);
    return rows[0]?.made ?? 0;
  });

/** Runs that one statement looks at; far below its time limit. */
const MOST_LOOKED_AT = 200_000;

/**
 * Detaches every month that is past the longest period of its tenants in all of its events and has no run that goes
 * on. `keepDays` (at least 183; null: for ever) counts for tenants that have set no period. Answers the names of the
 * tables it left. Throws `audit_store_unavailable`, also when the journal is too busy to be locked: then nothing of
 * that month was changed.
 */
export const detachPartitions = (
  db: Db,
  keepDays: number | null,
  { mostLookedAt = MOST_LOOKED_AT } = {},
): Promise<string[]> =>
  reaching(async () => {
    const detached: string[] = [];
    for (;;) {
      const { rows } = await sql<{ name: string | null }>`
        select detach_audit_partition(${keepDays}::int, ${mostLookedAt}::int) as name`.execute(db);
      const name = rows[0]?.name ?? null;
      if (name === null) return detached;
      // Nothing yet: that was a look at some of the month's runs.
      if (name !== '') detached.push(name);
    }
  });

/**
 * Whether the month of the chain with this id was detached, as retention has it: a run younger than that has not left.
 */
export const hasLeft = (id: RawBuilder<unknown>): RawBuilder<boolean> => sql`(
  ${id} < first_run_id_at((now() - make_interval(days => ${MIN_EVENT_DAYS})) at time zone 'UTC')
  and ${id} ~ '^run_[0-9a-f]{12}'
  and to_regclass('audit_events_' || to_char(
    to_timestamp(('x' || lpad(substr(${id}, 5, 12), 16, '0'))::bit(64)::bigint / 1000.0) at time zone 'UTC',
    'YYYY_MM')) is null
  and not exists (select from audit_events gone where gone.run_id = ${id} collate "C"))`;

/** As far as they are counted. */
const MANY = 10_000;

/**
 * Events in the default partition, where only those of a month without a partition go: it can be made no more once
 * they are there. Throws `audit_store_unavailable`.
 */
export const countDefaultEvents = (db: Db): Promise<number> =>
  reaching(async () => {
    const { rows } = await sql<{ events: number }>`
      select count(*) as events from (select from audit_events_default limit ${MANY}) stray`.execute(db);
    return rows[0]?.events ?? 0;
  });

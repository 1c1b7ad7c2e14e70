/**
 * Jobs that replay many runs. One owner at a time, by a lease that a lost owner lets run out; each page is saved in one
 * statement with the run it ended at, so that a job goes on where it was and counts nothing twice.
 */
import {
  type Comparison,
  type IdempotencyMark,
  type ReplayFilter,
  type ReplayMode,
  SignalboxError,
} from '@signalbox/contracts';
import { type Selectable, sql } from 'kysely';
import { toJsonParam } from '../db/json-param.ts';
import type { Db } from '../db/pool.ts';
import { isRefusedKey } from '../keys/api-keys.ts';
import { reaching } from '../db/store-errors.ts';
import { findReplayOfKey, insertMarks } from './replay-marks.ts';
import type { ReplayDivergence, ReplayFailure, ReplaysTable } from './replay-tables.ts';

export interface NewReplay {
  readonly id: string;
  readonly tenantId: string;
  /** Id of the API key. */
  readonly createdBy: string;
  readonly filter: ReplayFilter;
  readonly compare: Comparison;
  readonly mode: ReplayMode;
  readonly changed: readonly string[];
  readonly sealedChanges: string;
  readonly budgetNano: number | null;
  /** What its Idempotency-Key is known by, the one under the current key first; none: it has no such key. */
  readonly marks: readonly IdempotencyMark[];
}

export type StoredReplay = Selectable<ReplaysTable>;

export interface ClaimedReplay extends StoredReplay {
  /** The API key that started it was revoked or has expired. */
  readonly key_refused: boolean;
}

/** Jobs a tenant may have that have not ended. */
const MAX_OPEN = 10;

/** What a page added. */
export interface ReplayProgress {
  readonly cursor: string | null;
  readonly selected: number;
  readonly identical: number;
  readonly diverged: number;
  readonly failed: number;
  readonly notForked: number;
  readonly steps: number;
  readonly busyMs: number;
  readonly divergences: readonly ReplayDivergence[];
  readonly failures: readonly ReplayFailure[];
}

export interface ReplayOwner {
  readonly id: string;
  /** Unique to the process. */
  readonly owner: string;
}

/** With the new one, which is taken back when there are too many. */
const assertRoom = async (db: Db, tenantId: string): Promise<void> => {
  const { n } = await db
    .selectFrom('replays')
    .select((eb) => eb.fn.countAll<number>().as('n'))
    .where('tenant_id', '=', tenantId)
    .where('status', 'in', ['queued', 'running'])
    .executeTakeFirstOrThrow();
  if (n <= MAX_OPEN) return;
  throw new SignalboxError(
    'rate_limited',
    `A tenant may have ${MAX_OPEN} replays under way; abort one or wait for its end.`,
    { retryAfter: 60 },
  );
};

/** Told of a deed before it is committed: if it throws, nothing is changed. */
type Watch = () => Promise<void>;

const insert = async (tx: Db, replay: NewReplay): Promise<StoredReplay> => {
  const [mark, ...others] = replay.marks;
  const inserted = await tx
    .insertInto('replays')
    .values({
      id: replay.id,
      tenant_id: replay.tenantId,
      created_by: replay.createdBy,
      filter: sql`${toJsonParam([replay.filter])}::jsonb -> 0`,
      compare: replay.compare,
      mode: replay.mode,
      changed: sql`${JSON.stringify(replay.changed)}::jsonb`,
      sealed_changes: replay.sealedChanges,
      budget_nano: replay.budgetNano,
      key_digest: mark?.key_digest ?? null,
      fingerprint: mark?.fingerprint ?? null,
    })
    .returningAll()
    .executeTakeFirstOrThrow();
  await insertMarks(tx, replay, others);
  return inserted;
};

/** Null: its Idempotency-Key is used. Throws `rate_limited`, `audit_store_unavailable`. */
export const insertReplay = (db: Db, replay: NewReplay, watch: Watch): Promise<StoredReplay | null> =>
  reaching(() =>
    db.transaction().execute(async (tx) => {
      const { tenantId, marks } = replay;
      // Those who ask at once take turns: no two take the last place, or one Idempotency-Key.
      await sql`select pg_advisory_xact_lock(hashtext('signalbox replays'), hashtext(${tenantId}))`.execute(
        tx,
      );
      if ((await findReplayOfKey(tx, tenantId, marks)) !== null) return null;
      const inserted = await insert(tx, replay);
      await assertRoom(tx, tenantId);
      await watch();
      return inserted;
    }),
  );

/** Null: no such job of this tenant. Throws `audit_store_unavailable`. */
export const readReplay = (db: Db, tenantId: string, id: string): Promise<StoredReplay | null> =>
  reaching(async () => {
    const query = db.selectFrom('replays').selectAll();
    return (await query.where('tenant_id', '=', tenantId).where('id', '=', id).executeTakeFirst()) ?? null;
  });

/** The open job that waits longest, now this owner's; null: there is none. Throws `audit_store_unavailable`. */
export const claimReplay = (
  db: Db,
  { owner, leaseSeconds }: { readonly owner: string; readonly leaseSeconds: number },
): Promise<ClaimedReplay | null> =>
  reaching(async () => {
    const { rows } = await sql<ClaimedReplay>`
      with due as (
        select id from replays
        where status in ('queued', 'running') and (lease_until is null or lease_until < now() or owner = ${owner})
        order by touched_at limit 1 for update skip locked)
      update replays r set status = 'running', started_at = coalesce(r.started_at, now()),
        takeovers = r.takeovers + (r.lease_until is not null and r.owner <> ${owner})::int,
        owner = ${owner}, lease_until = now() + make_interval(secs => ${leaseSeconds}),
        touched_at = clock_timestamp()
      from due where r.id = due.id returning r.*, ${isRefusedKey(sql`r.created_by`)} as key_refused`.execute(
      db,
    );
    return rows[0] ?? null;
  });

/**
 * Adds what a page did, and lets go of the job. False: it is not this owner's any more, or was aborted, and nothing was
 * added. Throws `audit_store_unavailable`.
 */
export const saveReplay = (db: Db, { id, owner }: ReplayOwner, page: ReplayProgress): Promise<boolean> =>
  reaching(async () => {
    const { rows } = await sql`
      update replays set cursor = coalesce(${page.cursor}, cursor), selected = selected + ${page.selected},
        identical = identical + ${page.identical}, diverged = diverged + ${page.diverged},
        failed = failed + ${page.failed}, not_forked = not_forked + ${page.notForked},
        steps = steps + ${page.steps}, busy_ms = busy_ms + ${page.busyMs},
        divergences = divergences || ${toJsonParam(page.divergences)}::jsonb,
        failures = failures || ${toJsonParam(page.failures)}::jsonb,
        takeovers = 0, owner = null, lease_until = null, touched_at = clock_timestamp()
      where id = ${id} and owner = ${owner} and status = 'running' returning id`.execute(db);
    return rows.length > 0;
  });

const ENDED = sql`finished_at = now(), sealed_changes = null, owner = null, lease_until = null`;

/** Throws `audit_store_unavailable`. */
export const endReplay = (
  db: Db,
  { id, owner }: ReplayOwner,
  { status, error }: { readonly status: 'done' | 'failed'; readonly error: string | null },
): Promise<void> =>
  reaching(async () => {
    await sql`update replays set status = ${status}, error = ${error}, ${ENDED}
      where id = ${id} and owner = ${owner} and status = 'running'`.execute(db);
  });

/** One that has ended stays as it is. Throws `audit_store_unavailable`. */
export const abortReplay = (
  db: Db,
  { tenantId, id }: { readonly tenantId: string; readonly id: string },
  watch: Watch,
): Promise<void> =>
  reaching(() =>
    db.transaction().execute(async (tx) => {
      const { rows } = await sql`update replays set status = 'aborted', ${ENDED}
        where tenant_id = ${tenantId} and id = ${id} and status in ('queued', 'running') returning id`.execute(
        tx,
      );
      if (rows.length > 0) await watch();
    }),
  );

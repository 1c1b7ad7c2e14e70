/**
 * What a job may pay (R1): each fork holds its cap on the job's budget before it is made. The job's row is locked
 * meanwhile, so neither a lost owner nor one that was aborted holds anything.
 */
import { sql } from 'kysely';
import type { Db } from '../db/pool.ts';
import { isRefusedKey } from '../keys/api-keys.ts';
import type { ReplayOwner } from './replays.ts';
import { reaching } from '../db/store-errors.ts';

export interface PlannedFork {
  readonly runId: string;
  readonly fromStep: number;
  readonly capNano: number;
}

export type ForkHold =
  | { readonly type: 'held' }
  /** It was made, or may have been and can no more be found out: its hold stays, it is not made again. */
  | { readonly type: 'made'; readonly forkRunId: string | null }
  /** Budget or number of forks is used up. */
  | { readonly type: 'no_room' }
  /** The job is another's, or was aborted, or its key is refused. */
  | { readonly type: 'lost' };

export interface ForkLimits {
  readonly most: number;
  /** For so long the same Idempotency-Key surely gives the same fork. */
  readonly repeatableHours: number;
}

interface HeldRow {
  readonly fork_run_id: string | null;
  readonly repeatable: boolean;
}

const lockJob = async (tx: Db, { id, owner }: ReplayOwner): Promise<number | null> => {
  const { rows } = await sql<{ budget_nano: number }>`
    select coalesce(budget_nano, 0) as budget_nano from replays
    where id = ${id} and owner = ${owner} and status = 'running' and not ${isRefusedKey(sql`created_by`)}
    for update`.execute(tx);
  return rows[0]?.budget_nano ?? null;
};

/** Throws `audit_store_unavailable`. */
export const holdFork = (
  db: Db,
  job: ReplayOwner,
  { runId, fromStep, capNano }: PlannedFork,
  { most, repeatableHours }: ForkLimits,
): Promise<ForkHold> =>
  reaching(() =>
    db.transaction().execute(async (tx): Promise<ForkHold> => {
      const budgetNano = await lockJob(tx, job);
      if (budgetNano === null) return { type: 'lost' };
      const { rows } = await sql<HeldRow>`
        select fork_run_id, held_at > now() - make_interval(hours => ${repeatableHours}) as repeatable
        from replay_forks where replay_id = ${job.id} and run_id = ${runId}`.execute(tx);
      const [known] = rows;
      if (known !== undefined) {
        const again = known.fork_run_id === null && known.repeatable;
        return again ? { type: 'held' } : { type: 'made', forkRunId: known.fork_run_id };
      }
      const { rows: held } = await sql`
        insert into replay_forks (replay_id, run_id, from_step, cap_nano)
        select ${job.id}, ${runId}, ${fromStep}::int, ${capNano}::bigint
        from (select coalesce(sum(cap_nano), 0) as nano, count(*) as n from replay_forks where replay_id = ${job.id}) x
        where x.nano + ${capNano}::bigint <= ${budgetNano}::bigint and x.n < ${most}::int
        returning run_id`.execute(tx);
      return { type: held.length > 0 ? 'held' : 'no_room' };
    }),
  );

/** The fork is there. Throws `audit_store_unavailable`. */
export const noteFork = (db: Db, replayId: string, runId: string, forkRunId: string): Promise<void> =>
  reaching(async () => {
    await db
      .updateTable('replay_forks')
      .set({ fork_run_id: forkRunId })
      .where('replay_id', '=', replayId)
      .where('run_id', '=', runId)
      .execute();
  });

/** No fork was made. Throws `audit_store_unavailable`. */
export const releaseFork = (db: Db, replayId: string, runId: string): Promise<void> =>
  reaching(async () => {
    await db
      .deleteFrom('replay_forks')
      .where('replay_id', '=', replayId)
      .where('run_id', '=', runId)
      .where('fork_run_id', 'is', null)
      .execute();
  });

export interface StoredFork {
  readonly run_id: string;
  readonly from_step: number;
  readonly cap_nano: number;
  readonly fork_run_id: string | null;
}

/** In the order they were made. Throws `audit_store_unavailable`. */
export const listForks = (db: Db, replayId: string): Promise<StoredFork[]> =>
  reaching(() =>
    db
      .selectFrom('replay_forks')
      .select(['run_id', 'from_step', 'cap_nano', 'fork_run_id'])
      .where('replay_id', '=', replayId)
      .orderBy('held_at')
      .orderBy('run_id', 'desc')
      .execute(),
  );

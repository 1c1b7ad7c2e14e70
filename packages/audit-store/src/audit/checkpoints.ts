/**
 * The checkpoints of each tenant: taken by the scheduler's leader over the chains that the audit-writer marked as
 * moved. A chain is due -> (checkpoint) -> signed -> (next event) -> due. Two that take one at once take turns.
 */
import {
  adminChainOf,
  type CheckpointLeaf,
  type CheckpointLine,
  isAdminChain,
  type SignedCheckpoint,
} from '@signalbox/contracts';
import { type CheckpointHead, NO_CHECKPOINT } from '@signalbox/engine';
import { sql } from 'kysely';
import { bigintArray, textArray } from '../db/array-param.ts';
import { toJsonParam } from '../db/json-param.ts';
import { hasLeft } from '../retention/partitions.ts';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';

/** Chains of one checkpoint; more are left for the next. */
export const MAX_CHECKPOINT_CHAINS = 5000;

/** Signs what stands behind `head`. */
export type CheckpointSigner = (
  tenantId: string,
  head: CheckpointHead,
  leaves: readonly CheckpointLeaf[],
) => SignedCheckpoint;

interface DueChain {
  readonly run_id: string;
  readonly seq: number;
}

interface DueRow extends DueChain {
  /** Null: the event is not there. */
  readonly hash: string | null;
  /** Its month was detached, so there is nothing left to sign. */
  readonly has_left: boolean;
  /** Up to where the last checkpoint holds this chain. */
  readonly signed_seq: number;
}

export interface TakenCheckpoint {
  /** Null: there was nothing to sign. */
  readonly checkpoint: SignedCheckpoint | null;
  /** It was full: others may have been left for the next. */
  readonly more: boolean;
  /** Chains whose last event is not there, though its month is: somebody took it away. */
  readonly missing: readonly string[];
}

/** Tenants with chains that moved. Throws `audit_store_unavailable`. */
export const listTenantsDue = (db: Db): Promise<string[]> =>
  reaching(async () => {
    const { rows } = await sql<{ tenant_id: string }>`
      select distinct tenant_id from checkpoint_due order by tenant_id`.execute(db);
    return rows.map((row) => row.tenant_id);
  });

/** How long the oldest change has been waiting for a checkpoint. Throws `audit_store_unavailable`. */
export const checkpointAgeSeconds = (db: Db): Promise<number> =>
  reaching(async () => {
    const { rows } = await sql<{ age: number | null }>`
      select extract(epoch from clock_timestamp() - min(since))::float8 as age from checkpoint_due`.execute(
      db,
    );
    return Math.max(0, rows[0]?.age ?? 0);
  });

/** Locked, but for those that a writer is just moving: the scheduler waits for no row, so nobody waits in a ring. */
const lockDue = async (tx: Db, tenantId: string): Promise<DueChain[]> => {
  const { rows } = await sql<DueChain>`
    select run_id, seq from checkpoint_due where tenant_id = ${tenantId}
    order by run_id limit ${MAX_CHECKPOINT_CHAINS} for update skip locked`.execute(tx);
  return rows;
};

/**
 * In a statement of its own: the one that locks answers the newest version of a mark, but sees no event that was
 * committed with it after it began.
 */
const withHashes = async (tx: Db, tenantId: string, due: readonly DueChain[]): Promise<DueRow[]> => {
  const { rows } = await sql<DueRow>`
    select due.run_id, due.seq, event.hash, event.hash is null and ${hasLeft(sql`due.run_id`)} as has_left,
      coalesce(signed.seq, 0) as signed_seq
    from unnest(
      ${textArray(due.map(({ run_id }) => run_id))}::text[], ${bigintArray(due.map(({ seq }) => seq))}::bigint[]
    ) as due (run_id, seq)
    left join audit_events event on event.run_id = due.run_id collate "C" and event.seq = due.seq
    left join lateral (
      select l.seq from checkpoint_leaves l
      where l.tenant_id = ${tenantId} and l.run_id = due.run_id collate "C" order by l.seq desc limit 1
    ) signed on true`.execute(tx);
  return rows;
};

/** A checkpoint writes itself into the administration chain; that alone is no reason for the next one. */
const isOnlyAboutCheckpoints = async (tx: Db, tenantId: string, due: readonly DueRow[]): Promise<boolean> => {
  const [admin, ...others] = due;
  if (admin === undefined || others.length > 0 || !isAdminChain(admin.run_id)) return false;
  const { rows } = await sql`
    select from audit_events
    where run_id = ${adminChainOf(tenantId)} and seq > ${admin.signed_seq} and seq <= ${admin.seq}
      and type <> 'checkpoint.written' limit 1`.execute(tx);
  return rows.length === 0;
};

const headOf = async (tx: Db, tenantId: string): Promise<CheckpointHead> => {
  const { rows } = await sql<CheckpointHead>`
    select n, hash from checkpoints where tenant_id = ${tenantId} order by n desc limit 1`.execute(tx);
  return rows[0] ?? NO_CHECKPOINT;
};

const store = async (tx: Db, { leaves, ...checkpoint }: CheckpointLine): Promise<void> => {
  await tx.insertInto('checkpoints').values(checkpoint).execute();
  await sql`
    insert into checkpoint_leaves (tenant_id, run_id, seq, hash, n)
    select ${checkpoint.tenant_id}, run_id, seq, hash, ${checkpoint.n}
    from json_to_recordset(${toJsonParam(leaves)}::json) as x (run_id text, seq int, hash text)`.execute(tx);
};

const leafOf = ({ run_id, seq, hash, signed_seq }: DueRow): CheckpointLeaf[] =>
  hash === null || seq <= signed_seq ? [] : [{ run_id, seq, hash }];

/**
 * A mark whose event is missing stays, and shows in the age: it is not settled until the event or its month explains
 * it.
 */
const isSettled = ({ hash, has_left }: DueRow): boolean => hash !== null || has_left;

/** The rows are locked, so none has moved on meanwhile. */
const removeDue = (tx: Db, tenantId: string, due: readonly DueRow[]): Promise<unknown> =>
  sql`
    delete from checkpoint_due d
    using json_to_recordset(${toJsonParam(due)}::json) as x (run_id text)
    where d.tenant_id = ${tenantId} and d.run_id = x.run_id collate "C"`.execute(tx);

/** One checkpoint at a time: the next needs the hash of this one. */
const LOCK = 'take_checkpoint';

/** Takes and stores the next checkpoint of a tenant. Throws `audit_store_unavailable`. */
export const takeCheckpoint = (
  db: Db,
  tenantId: string,
  signer: CheckpointSigner,
): Promise<TakenCheckpoint> =>
  reaching(() =>
    db.transaction().execute(async (tx) => {
      await sql`select pg_advisory_xact_lock(hashtext('signalbox'), hashtext(${LOCK}))`.execute(tx);
      const locked = await lockDue(tx, tenantId);
      const rows = await withHashes(tx, tenantId, locked);
      const due = rows.filter(isSettled);
      const missing = rows.filter((row) => !isSettled(row)).map(({ run_id }) => run_id);
      if (due.length === 0) return { checkpoint: null, more: false, missing };
      const more = locked.length === MAX_CHECKPOINT_CHAINS;
      const isIdle = await isOnlyAboutCheckpoints(tx, tenantId, due);
      const leaves = isIdle ? [] : due.flatMap(leafOf);
      await removeDue(tx, tenantId, due);
      if (leaves.length === 0) return { checkpoint: null, more, missing };
      const checkpoint = signer(tenantId, await headOf(tx, tenantId), leaves);
      await store(tx, { ...checkpoint, leaves });
      return { checkpoint, more, missing };
    }),
  );

type StoredCheckpoint = Omit<SignedCheckpoint, 'ts'> & { readonly ts: Date };

/** Up to `limit` checkpoints behind the nth, each with its heads, in order. Throws `audit_store_unavailable`. */
export const listCheckpoints = (
  db: Db,
  tenantId: string,
  { after, limit }: { after: number; limit: number },
): Promise<CheckpointLine[]> =>
  reaching(async () => {
    const { rows } = await sql<StoredCheckpoint>`
      select * from checkpoints where tenant_id = ${tenantId} and n > ${after} order by n limit ${limit}`.execute(
      db,
    );
    const ns = rows.map(({ n }) => n);
    const { rows: leaves } = await sql<CheckpointLeaf & { n: number }>`
      select n, run_id, seq, hash from checkpoint_leaves
      where tenant_id = ${tenantId} and n = any(${ns}::int[]) order by n, run_id`.execute(db);
    const byN = Map.groupBy(leaves, ({ n }) => n);
    return rows.map((row) => ({
      ...row,
      ts: row.ts.toISOString(),
      leaves: (byN.get(row.n) ?? []).map(({ run_id, seq, hash }) => ({ run_id, seq, hash })),
    }));
  });

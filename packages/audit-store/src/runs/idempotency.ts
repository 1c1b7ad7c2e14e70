import { sql } from 'kysely';
import type { Db } from '../db/pool.ts';

/** What a run's Idempotency-Key left behind, for a verification of run state. */
export interface StoredIdempotency {
  readonly runId: string;
  readonly tenantId: string;
  readonly keyDigest: string;
  readonly fingerprint: string;
  readonly createdAt: Date;
}

interface Row {
  readonly id: string;
  readonly tenant_id: string;
  readonly idempotency_key_digest: string;
  readonly idempotency_fingerprint: string;
  readonly created_at: Date;
}

/** Of the runs of a partition made at or after `since`, in order of id, behind `after` ('' for the first). */
export const listIdempotency = async (
  db: Db,
  { partition, since, after, limit }: { partition: number; since: Date; after: string; limit: number },
): Promise<StoredIdempotency[]> => {
  const { rows } = await sql<Row>`
    select runs.id, runs.tenant_id, idempotency_key_digest, idempotency_fingerprint, runs.created_at
    from runs left join tenants on tenants.id = runs.tenant_id
    where idempotency_key_digest is not null and runs.created_at >= ${since} and runs.id > ${after}
      and runs.id >= first_run_id_at(${since}::timestamptz at time zone 'UTC')
      and coalesce(tenants.partition, 0) = ${partition}
    order by runs.id limit ${limit}`.execute(db);
  return rows.map((row) => ({
    runId: row.id,
    tenantId: row.tenant_id,
    keyDigest: row.idempotency_key_digest,
    fingerprint: row.idempotency_fingerprint,
    createdAt: row.created_at,
  }));
};

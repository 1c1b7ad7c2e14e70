/** Which request made which replay job: what it is known by, under each key of the keyring of the api that made it. */
import type { IdempotencyMark } from '@signalbox/contracts';
import { type Selectable, sql } from 'kysely';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';
import type { ReplaysTable } from './replay-tables.ts';

export interface MarkedReplay extends Selectable<ReplaysTable> {
  /** Of the mark that it was found by. */
  readonly marked_fingerprint: string;
}

/** The job that was made with this Idempotency-Key; null: none was. Throws `audit_store_unavailable`. */
export const findReplayOfKey = (
  db: Db,
  tenantId: string,
  marks: readonly IdempotencyMark[],
): Promise<MarkedReplay | null> =>
  reaching(async () => {
    const digests = marks.map(({ key_digest }) => key_digest);
    const { rows } = await sql<MarkedReplay>`
      select r.*, mark.fingerprint as marked_fingerprint from (
        select id, fingerprint from replays where tenant_id = ${tenantId} and key_digest = any(${digests}::text[])
        union all
        select replay_id, fingerprint from replay_marks
          where tenant_id = ${tenantId} and key_digest = any(${digests}::text[])
      ) mark join replays r on r.id = mark.id limit 1`.execute(db);
    return rows[0] ?? null;
  });

/** Those under other keys than the first, which lies in the job's own row. */
export const insertMarks = async (
  tx: Db,
  { id, tenantId }: { readonly id: string; readonly tenantId: string },
  marks: readonly IdempotencyMark[],
): Promise<void> => {
  if (marks.length === 0) return;
  const rows = marks.map((mark) => ({ ...mark, tenant_id: tenantId, replay_id: id }));
  await tx.insertInto('replay_marks').values(rows).execute();
};

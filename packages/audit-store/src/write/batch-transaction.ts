import type { Db } from '../db/pool.ts';
import { type BatchOrigin, countBatch, joinIncarnation } from '../trust/incarnation.ts';
import type { Quarantined } from './quarantine.ts';
import type { StoredHead } from './run-heads.ts';

/** What a transaction did. */
export interface Written {
  /** Events stored now. */
  readonly inserted: number;
  /** Events that were stored already. */
  readonly duplicates: number;
  /** What this batch holds for the quarantine; a redelivery reports it again. */
  readonly quarantined: readonly Quarantined[];
  /** By run id of the batch: up to where it is stored without a gap. */
  readonly heads: ReadonlyMap<string, StoredHead>;
}

export interface WriteResult extends Written {
  /** Batches of the partition that are stored, for acknowledge(); 0 without an origin. */
  readonly batches: number;
}

/**
 * One transaction of a batch; `origin` null: a batch that no verification can overtake, as in tests. Two writers
 * take turns by the locks on runs; read committed, so that each statement sees what the other has committed by then.
 */
export const inBatch = (
  db: Db,
  origin: BatchOrigin | null,
  work: (tx: Db) => Promise<Written>,
): Promise<WriteResult> =>
  db
    .transaction()
    .setIsolationLevel('read committed')
    .execute(async (tx) => {
      if (origin !== null) await joinIncarnation(tx, origin);
      const written = await work(tx);
      return { ...written, batches: origin === null ? 0 : await countBatch(tx, origin) };
    });

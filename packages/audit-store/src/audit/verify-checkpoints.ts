import type { CheckpointLine } from '@signalbox/contracts';
import {
  checkpointBreak,
  checkpointFault,
  CHECKPOINTS,
  type FirstBad,
  NO_CHECKPOINT,
} from '@signalbox/engine';
import { sql } from 'kysely';
import { listCheckpoints } from './checkpoints.ts';
import { pagesOf } from '../db/pages.ts';
import type { Db } from '../db/pool.ts';
import { reaching } from '../db/store-errors.ts';

const MISSING = 'the checkpoint is missing';

/** A checkpoint has up to 5,000 heads. */
const PER_PAGE = 20;

/** The first checkpoint behind the nth that heads are there of and nothing else. */
const missingBehind = async (db: Db, tenantId: string, n: number): Promise<number | null> => {
  // In one statement: one that is taken meanwhile comes with its heads.
  const { rows } = await sql<{ n: number | null }>`
    select min(l.n) as n from checkpoint_leaves l
    where l.tenant_id = ${tenantId} and l.n > ${n} and not exists (
      select from checkpoints c where c.tenant_id = l.tenant_id and c.n = l.n)`.execute(db);
  return rows[0]?.n ?? null;
};

interface CheckpointVerdict {
  readonly checkpoints: number;
  readonly bad: FirstBad | null;
}

/** The checkpoints that hold a run. */
const holding = async (db: Db, tenantId: string, runId: string): Promise<number[]> => {
  const { rows } = await sql<{ n: number }>`
    select n from checkpoint_leaves where tenant_id = ${tenantId} and run_id = ${runId} order by n`.execute(
    db,
  );
  return rows.map(({ n }) => n);
};

/**
 * Checks each checkpoint and that none is missing between them, or behind them while its heads are there; of one run,
 * only those that hold it. Whose key it was is not known here: that they were not all made anew shows against the copy
 * outside.
 */
export const verifyCheckpoints = async (
  db: Db,
  tenantId: string,
  runId: string | null,
): Promise<CheckpointVerdict> => {
  const bad = (checkpoints: number, seq: number, why: string): CheckpointVerdict => ({
    checkpoints,
    bad: { run_id: CHECKPOINTS, seq, why },
  });
  if (runId !== null) {
    const held = await reaching(() => holding(db, tenantId, runId));
    for (const [index, n] of held.entries()) {
      const [checkpoint] = await listCheckpoints(db, tenantId, { after: n - 1, limit: 1 });
      if (checkpoint?.n !== n) return bad(index, n, MISSING);
      const why = checkpointFault(checkpoint, { leaves: checkpoint.leaves, publicKeys: null });
      if (why !== null) return bad(index, n, why);
    }
    return { checkpoints: held.length, bad: null };
  }
  let head = NO_CHECKPOINT;
  const pages = pagesOf<CheckpointLine>(PER_PAGE, (last) =>
    listCheckpoints(db, tenantId, { after: last?.n ?? NO_CHECKPOINT.n, limit: PER_PAGE }),
  );
  for await (const page of pages) {
    for (const { leaves, ...checkpoint } of page) {
      const why =
        checkpointBreak(head, checkpoint) ?? checkpointFault(checkpoint, { leaves, publicKeys: null });
      if (why !== null) return bad(head.n, head.n + 1, why);
      head = { n: checkpoint.n, hash: checkpoint.hash };
    }
  }
  const missing = await reaching(() => missingBehind(db, tenantId, head.n));
  return missing === null ? { checkpoints: head.n, bad: null } : bad(head.n, missing, MISSING);
};

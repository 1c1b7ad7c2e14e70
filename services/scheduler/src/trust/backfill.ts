import { type Db, listRunHeads } from '@signalbox/audit-store';
import { backfillRun, type Partition, readHotHeads, type Verification } from '@signalbox/run-state';
import type { Logger } from '@signalbox/runtime';

/**
 * After Postgres lost what it had committed: what run state still holds of it goes through the audit stream once more.
 * What lies there already is stored once all the same. Throws `state_unavailable`, `state_untrusted` and what
 * Postgres throws.
 */
export const backfillStore = async (
  { partition, logger }: { readonly partition: Partition; readonly logger: Logger },
  { tx, verification }: { readonly tx: Db; readonly verification: Verification },
): Promise<{ readonly runs: number; readonly events: number }> => {
  let [runs, events] = [0, 0];
  for await (const page of readHotHeads(partition)) {
    const heads = await listRunHeads(tx, [...page.keys()]);
    const stored = new Map(heads.map(({ runId, seq }) => [runId, seq]));
    for (const [runId, seq] of page) {
      const from = stored.get(runId) ?? 0;
      if (from >= seq) continue;
      const end = await backfillRun(partition, verification, { runId, from });
      if (end < seq) {
        const what =
          'Postgres lost events of a run that hibernates: put back a newer copy, or it waits for ever';
        logger.error(what, { run_id: runId, stored: from, had: seq });
      }
      runs += end > from ? 1 : 0;
      events += end - from;
    }
  }
  return { runs, events };
};

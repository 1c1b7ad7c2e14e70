/**
 * Gives Postgres again what it lost and run state still holds, within a verification (Trust): the journals of
 * all runs that go on, but of those that hibernate, and of those that ended not long ago.
 */
import { batches } from '../redis/batches.ts';
import { type Partition, runKey } from '../redis/partition.ts';
import { reachingState } from '../redis/reaching.ts';
import { runScript } from '../redis/scripts.ts';
import { scanHotRuns } from '../runs/hot-runs.ts';
import { overtaken, type Verification } from './trust.ts';

const SCAN_COUNT = 1000;
/** Runs of a page: Postgres is asked for as many at once. */
const PAGE = 200;

const seqsOf = async (partition: Partition, runIds: readonly string[]): Promise<Map<string, number>> => {
  const records = await Promise.all(
    runIds.map((runId) => partition.redis.hmget(runKey(partition, runId), 'status', 'tenant', 'seq')),
  );
  // A cap of a tree, or what a hand left, is no run.
  return new Map(
    runIds.flatMap((runId, i) => {
      const [status, tenant, seq] = records[i] ?? [];
      return status && tenant && seq ? [[runId, Number(seq)] as const] : [];
    }),
  );
};

/** Every run that is here, ended ones too, with the seq its journal has reached. Throws `state_unavailable`. */
export async function* readHotHeads(partition: Partition): AsyncGenerator<ReadonlyMap<string, number>> {
  for (let from = '0'; ; ) {
    const { runIds, cursor } = await scanHotRuns(partition, from, SCAN_COUNT);
    for (const some of batches(runIds, PAGE)) yield await reachingState(() => seqsOf(partition, some));
    if (cursor === '0') return;
    from = cursor;
  }
}

/**
 * Hands the events of a run behind `from` to the audit-writer once more. Answers up to which seq that is: less than its
 * journal has when it hibernates. Throws `state_unavailable`, `state_untrusted`.
 */
export const backfillRun = async (
  partition: Partition,
  { token }: Verification,
  { runId, from }: { readonly runId: string; readonly from: number },
): Promise<number> => {
  for (let at = from; ; ) {
    const reply = await runScript(partition, 'backfill', [token, runId, at]);
    if (reply === 'OVERTAKEN') throw overtaken();
    const end = Number(reply);
    if (end === at) return end;
    at = end;
  }
};

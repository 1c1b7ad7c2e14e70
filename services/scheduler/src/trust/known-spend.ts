import {
  type Db,
  settledHolds,
  sumSpendByDay,
  sumSpendByRoot,
  sumUnstoredSpend,
} from '@signalbox/audit-store';
import { type Ledger, type Partition, readChargedHolds, readStream } from '@signalbox/run-state';
import type { Clock } from '@signalbox/runtime';

const BATCH = 200;
/** A hold counts for its day and its month, so the ledger of this and the last month is enough. */
const LEDGER_DAYS = 62;
const DAY_MS = 86_400_000;

/** What is known to be spent, wherever it is known: in the ledger, in the audit stream, or in a run here. */
export const knownSpend = async (
  { partition, clock }: { readonly partition: Partition; readonly clock: Clock },
  tx: Db,
  roots: ReadonlySet<string>,
): Promise<Ledger> => {
  const sinceDay = new Date(clock.now() - LEDGER_DAYS * DAY_MS).toISOString().slice(0, 10);
  const days = await sumSpendByDay(tx, { partition: partition.index, sinceDay });
  const runs = await sumSpendByRoot(tx, [...roots]);
  const add = (root: string, nano: number): void => void runs.set(root, (runs.get(root) ?? 0) + nano);
  const unstored = await sumUnstoredSpend(tx, readStream(partition, BATCH));
  for (const [root, nano] of unstored.runs) add(root, nano);
  const charged = (await readChargedHolds(partition)).filter(({ holdId }) => !unstored.settled.has(holdId));
  const settled = await settledHolds(
    tx,
    charged.map(({ holdId }) => holdId),
  );
  const only = charged.filter(({ holdId }) => !settled.has(holdId));
  for (const { rootRunId, nano } of only) add(rootRunId, nano);
  const onlyHere = only.map(({ tenantId, userId, day, nano }) => ({
    tenantId,
    userId,
    day,
    spentNano: nano,
  }));
  return { days: [...days, ...unstored.days, ...onlyHere], runs };
};

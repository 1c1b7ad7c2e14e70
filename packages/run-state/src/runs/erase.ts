import type { Partition } from '../redis/partition.ts';
import { runScript } from '../redis/scripts.ts';

export interface Erasure {
  readonly runId: string;
  readonly erasedAt: Date;
}

/**
 * Destroys here the keys and contents of runs that have ended and are erased in Postgres. Safe to repeat. Throws
 * `state_unavailable`.
 */
export const eraseHot = async (partition: Partition, erasures: readonly Erasure[]): Promise<void> => {
  if (erasures.length === 0) return;
  const args = erasures.flatMap(({ runId, erasedAt }) => [runId, erasedAt.toISOString()]);
  await runScript(partition, 'erase', args);
};

import type { Partition } from '../redis/partition.ts';
import { type Activation, Activations, Texts } from '../redis/reply.ts';
import { runScript } from '../redis/scripts.ts';

export interface Reindexed {
  readonly putBack: number;
  readonly activations: readonly Activation[];
}

/**
 * Puts runs back that no index leads to (see reindex.lua). Throws `state_unavailable`, `state_untrusted`, and `internal`
 * where the record of one of them is damaged.
 */
export const reindexRuns = async (partition: Partition, runIds: readonly string[]): Promise<Reindexed> => {
  const [, putBack, ...rest] = Texts.parse(await runScript(partition, 'reindex', runIds));
  return { putBack: Number(putBack), activations: Activations.parse(rest) };
};

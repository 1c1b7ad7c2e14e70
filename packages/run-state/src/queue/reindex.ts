import type { Partition } from '../redis/partition.ts';
import { type Activation, Activations, Texts } from '../redis/reply.ts';
import { runScript } from '../redis/scripts.ts';
import type { Verification } from '../trust/trust.ts';

export interface Reindexed {
  readonly putBack: number;
  readonly activations: readonly Activation[];
}

/**
 * Puts runs back that no index leads to (see reindex.lua), within a verification if one is named. Throws
 * `state_unavailable`, `state_untrusted`, and `internal` where the script breaks at one of them.
 */
export const reindexRuns = async (
  partition: Partition,
  runIds: readonly string[],
  verification: Pick<Verification, 'token'> | null = null,
): Promise<Reindexed> => {
  const args = [verification?.token ?? '', ...runIds];
  const [, putBack, ...rest] = Texts.parse(await runScript(partition, 'reindex', args));
  return { putBack: Number(putBack), activations: Activations.parse(rest) };
};

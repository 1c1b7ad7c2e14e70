import { adminChainOf, type AdminEventDraft } from '@signalbox/contracts';
import type { Partition } from '../redis/partition.ts';
import { runScript } from '../redis/scripts.ts';

/**
 * Puts administration events of one tenant into the audit stream. What they tell of may be done only when this has
 * returned (R9). Throws `state_unavailable`; a repeat may store them twice, under other ids.
 */
export const recordAdminEvents = async (
  partition: Partition,
  tenantId: string,
  drafts: readonly AdminEventDraft[],
): Promise<void> => {
  if (drafts.length === 0) return;
  const events = drafts.map((draft) => JSON.stringify(draft));
  await runScript(partition, 'admin', [tenantId, adminChainOf(tenantId), ...events]);
};

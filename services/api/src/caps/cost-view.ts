import type { CostGroup, CostRow } from '@signalbox/audit-store';
import { toUsd } from '@signalbox/contracts';
import { z } from 'zod';

/** Of day, user_id, agent and model those that were asked for. */
export const CostView = z.object({
  day: z.string().optional(),
  user_id: z.string().nullable().optional(),
  agent: z.string().nullable().optional(),
  model: z.string().optional(),
  observed_usd: z.number(),
  estimated_usd: z.number(),
  held_usd: z.number(),
  calls: z.int(),
});

/** A sum of the ledger as the api shows it. */
export const costView = (
  groups: readonly CostGroup[],
  row: CostRow,
): Record<string, string | number | null> => ({
  ...Object.fromEntries(
    groups.map((group, i) => [group, row.group[i] === '' ? null : (row.group[i] ?? null)]),
  ),
  observed_usd: toUsd(row.observedNano),
  estimated_usd: toUsd(row.estimatedNano),
  held_usd: toUsd(row.heldNano),
  calls: row.calls,
});

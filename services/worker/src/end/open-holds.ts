import type { Entry } from '@signalbox/contracts';
import { bodyOf } from '@signalbox/engine';
import type { HeldCall } from '@signalbox/run-state';
import { z } from 'zod';

/**
 * The holds that a journal announced and never settled, read with as little as possible: a run whose journal this
 * version cannot fold must still end without leaving money held (R2).
 */

const Requested = z.object({
  data: z.object({
    step: z.int(),
    attempt: z.int(),
    model: z.string(),
    hold: z.object({ id: z.string(), amount_nano: z.int().min(0) }),
  }),
});

const Settled = z.object({ data: z.object({ settlement: z.object({ hold_id: z.string() }) }) });

const parsed = (entry: Entry): unknown => {
  try {
    return JSON.parse(bodyOf(entry));
  } catch {
    return null;
  }
};

export const openHolds = (entries: readonly Entry[]): HeldCall[] => {
  const open = new Map<string, HeldCall>();
  for (const body of entries.map(parsed)) {
    const requested = Requested.safeParse(body);
    if (requested.success) open.set(requested.data.data.hold.id, requested.data.data);
    const settled = Settled.safeParse(body);
    if (settled.success) open.delete(settled.data.data.settlement.hold_id);
  }
  return [...open.values()];
};

import type { Demand } from '@signalbox/run-state';
import { z } from 'zod';

const count = z.int().min(0);

/** Demand and capacity as a scaler reads them. */
export const AutoscaleView = z.object({
  runnable: count,
  waiting: count,
  prioritized: count,
  active: count,
  parked: count,
  delayed: count,
  oldest_waiting_seconds: z.number(),
  workers: count,
  slots: count,
});

export const autoscaleView = (demand: Demand): z.infer<typeof AutoscaleView> => ({
  runnable: demand.runnable,
  waiting: demand.waiting,
  prioritized: demand.prioritized,
  active: demand.active,
  parked: demand.parked,
  delayed: demand.delayed,
  oldest_waiting_seconds: demand.oldestWaitingSeconds,
  workers: demand.workers,
  slots: demand.slots,
});

import { type Nano, toUsd } from '@signalbox/contracts';
import type { Metrics } from '@signalbox/runtime';
import { createModelLabels } from './metric-labels.ts';

/** What is counted of money (contract §4), alike in every process that settles calls. */
export interface CostMetric {
  /** A call's settlement, or what it is charged when its result was lost. */
  charged(modelRef: string, nano: Nano): void;
}

/** `labels`: those of the other metrics of the process that name models. */
export const createCostMetric = (registry: Metrics, labels = createModelLabels()): CostMetric => {
  const cost = registry.counter({
    name: 'cost_usd_total',
    help: 'Settled cost, and what a call is charged whose result was lost.',
    labels: ['provider', 'model'],
  });
  return {
    charged: (modelRef, nano) => {
      if (nano > 0) cost.inc(labels(modelRef), toUsd(nano));
    },
  };
};

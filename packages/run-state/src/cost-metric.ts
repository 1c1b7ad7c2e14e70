import { type Nano, splitModelRef, toUsd } from '@signalbox/contracts';
import type { Metrics } from '@signalbox/runtime';

/** What is counted of money (contract §4), alike in every process that settles calls. */
export interface CostMetric {
  /** A call's settlement, or what it is charged when its result was lost. */
  charged(modelRef: string, nano: Nano): void;
}

export const createCostMetric = (registry: Metrics): CostMetric => {
  const cost = registry.counter({
    name: 'cost_usd_total',
    help: 'Settled cost, and what a call is charged whose result was lost.',
    labels: ['provider', 'model'],
  });
  return {
    charged: (modelRef, nano) => {
      if (nano > 0) cost.inc(splitModelRef(modelRef), toUsd(nano));
    },
  };
};

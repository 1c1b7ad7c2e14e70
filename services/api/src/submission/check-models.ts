import {
  type AgentSpec,
  type ErrorCode,
  type PricePort,
  SignalboxError,
  splitModelRef,
} from '@signalbox/contracts';
import { knownModel } from '@signalbox/providers';

/** Refuses a spec whose models could not be paid for, before anything is written (R1). */
interface Refusal {
  readonly code: ErrorCode;
  readonly message: string;
}

/** More input than any context window holds: every price step is met below it. */
const ANY_INPUT = 100_000_000;

const isFree = (prices: PricePort, model: string): boolean => {
  const rates = prices.priceOf(model)?.highestRates(ANY_INPUT);
  return rates !== undefined && Object.values(rates).every((rate) => rate === 0);
};

const refusalOf = (prices: PricePort, spec: AgentSpec, model: string): Refusal | null => {
  const { provider } = splitModelRef(model);
  // The catalogue of every other provider is its price list: what is not in it has no known price.
  if (provider === 'mock' && !knownModel(prices, model)) {
    return { code: 'model_unknown', message: `there is no model ${model}` };
  }
  if (prices.priceOf(model) === null) {
    const message = `${model} has no known price, so its cost cannot be capped: use another model, or have the operator price it in PRICE_OVERRIDES_FILE`;
    return { code: 'price_unknown', message };
  }
  if (spec.cost_intent === 'free' && !isFree(prices, model)) {
    return { code: 'invalid_request', message: `${model} costs money, and cost_intent is free` };
  }
  return null;
};

/**
 * `at` names where the spec stands in the body, `''` or `agent`. Throws `model_unknown`, `price_unknown`,
 * `invalid_request`.
 */
export const checkModels = (prices: PricePort, spec: AgentSpec, at: string): void => {
  const named = [
    { path: 'model', model: spec.model },
    ...spec.fallbacks.map((model, i) => ({ path: `fallbacks.${i}`, model })),
  ];
  for (const { path, model } of named) {
    const refusal = refusalOf(prices, spec, model);
    if (refusal === null) continue;
    const where = at === '' ? path : `${at}.${path}`;
    throw new SignalboxError(refusal.code, `${where}: ${refusal.message}.`, {
      errors: [{ path: where, message: refusal.message }],
    });
  }
};

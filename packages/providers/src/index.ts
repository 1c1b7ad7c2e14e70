export { boundAfter, boundFresh } from './bound.ts';
export { knownModel, type ProviderEntry, providers } from './catalogue.ts';
export { affordableOutputTokens, type CallBound, costNano, worstCaseNano } from './cost.ts';
export { MOCK_MODELS } from './mock.ts';
export {
  type Conversation,
  echoTurn,
  estimatedTokens,
  MockScript,
  type PlayedTurn,
  playTurn,
  scriptOf,
} from './mock-script.ts';
export { priceOverridesFile, readPriceOverrides } from './price-overrides.ts';
export { createPrices, type PriceOverride, PRICES_VERSION, type PricesOptions } from './prices.ts';
export { createModels, type ModelsOptions } from './registry.ts';

export { boundAfter, boundFresh, frameBytes } from './bound.ts';
export { knownModel, providerEntry, type ProviderEntry, providers } from './catalogue.ts';
export { affordableOutputTokens, type CallBound, costNano, worstCaseNano } from './cost.ts';
export { createKeyVault, type KeyVault, type SealedKey, type TenantKeys } from './key-vault.ts';
export { MOCK_MODELS } from './mock.ts';
export { type Conversation, MockScript, scriptOf } from './mock-script.ts';
export { echoTurn, type PlayedTurn, playTurn } from './mock-turn.ts';
export { estimatedTokens } from './mock-usage.ts';
export { plausibleUsage } from './plausible-usage.ts';
export { priceOverridesFile } from './price-overrides.ts';
export { createPrices, type PriceOverride, PRICES_VERSION, type PricesOptions } from './prices.ts';
export {
  type PerProvider,
  providerAccess,
  type ProviderAccess,
  providerVariables,
} from './provider-environment.ts';
export { ATTEMPT_LIMIT_MS, createModels, type Models, type ModelsOptions } from './registry.ts';

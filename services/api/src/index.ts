export { createApiKey, type KeyDeps, type NewKey } from './api-keys.ts';
export { createApiMetrics } from './api-metrics.ts';
export { createApp } from './app.ts';
export type { Api, ApiDeps } from './deps.ts';
export { createRateLimit, type RateLimit } from './rate-limit.ts';
export { createRunReader, type RunReader } from './run-reader.ts';

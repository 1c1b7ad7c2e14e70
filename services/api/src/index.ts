export { createApiKey, type KeyDeps, type NewKey } from './keys/api-keys.ts';
export { createApiMetrics } from './api-metrics.ts';
export { createApp } from './http/app.ts';
export type { Api, ApiDeps } from './deps.ts';
export { createRateLimit, type RateLimit } from './http/rate-limit.ts';
export { createRunReader, type RunReader } from './runs/run-reader.ts';

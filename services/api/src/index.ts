export { createApiKey } from './keys/api-keys.ts';

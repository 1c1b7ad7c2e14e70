export { type Child, type ChildOptions, type Exit, startChild } from './child.ts';
export { createDatabase, type CreateDatabaseOptions } from './database.ts';
export { freePort } from './ports.ts';
export { type LocalPostgres, type PostgresOptions, startPostgres } from './postgres.ts';
export { REPOSITORY, runToEnd, type Service, type ServiceOptions, startService } from './process.ts';
export { type LocalRedis, type RedisOptions, startRedis } from './redis.ts';
export type { StackOptions } from './services.ts';
export { type Stack, startStack } from './stack.ts';
export {
  createTestDatabase,
  migratedTestDatabase,
  temporaryDir,
  testDatabaseUrl,
  testDatabaseUrlOf,
  testRedisUrl,
} from './test-services.ts';
export { until, waitFor, type WaitOptions } from './wait.ts';

export {
  type AgentListQuery,
  type AgentQuery,
  getAgent,
  listAgents,
  type NewAgentVersion,
  publishAgentVersion,
  type Published,
  type StoredAgent,
} from './agents.ts';
export { findApiKeyByHash, type NewApiKey, type StoredApiKey, upsertApiKey } from './api-keys.ts';
export { EditedMigrationError, migrate } from './migrate.ts';
export { ensurePartitions } from './partitions.ts';
export { createPool, type Db, ping, type PoolOptions } from './pool.ts';
export {
  type ContentChoice,
  listRunIds,
  readRun,
  readRuns,
  type RunHead,
  runHead,
  type RunListQuery,
} from './read.ts';
export { ensureTenant, listTenants, type Tenant } from './tenants.ts';
export type { Tables } from './types.ts';
export { writeBatch, type WriteResult } from './write.ts';
export type { Quarantined, QuarantineReason } from './write/quarantine.ts';
export type { StoredHead } from './write/runs.ts';
export { type BatchOrigin, raiseIncarnation, withVerificationLock } from './incarnation.ts';
export {
  type DaySpend,
  listLiveRuns,
  listRunHeads,
  readStoredRuns,
  type StoredRunHead,
  sumSpendByDay,
  sumSpendByRoot,
} from './verification.ts';

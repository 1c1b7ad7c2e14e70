export {
  type AgentListQuery,
  type AgentQuery,
  getAgent,
  listAgents,
  listAgentVersions,
  type NewAgentVersion,
  type PlacedAgentVersion,
  publishAgentVersion,
  type Published,
  type StoredAgent,
} from './agents.ts';
export {
  findApiKeyByHash,
  listApiKeys,
  listRevokedApiKeys,
  type NewApiKey,
  type StoredApiKey,
  upsertApiKey,
} from './api-keys.ts';
export type { StoredCaps, StoredUserCaps, TenantAmounts, UserAmounts } from './cap-rows.ts';
export {
  deleteUserCaps,
  ensureTenantWithCaps,
  type NewTenant,
  saveTenantCaps,
  saveUserCaps,
  type TenantCapsUpdate,
  type UserCapsUpdate,
  withCapsLocked,
  type ZoneChange,
} from './caps.ts';
export { COST_GROUPS, type CostGroup, type CostQuery, type CostRow, sumCosts } from './cost-report.ts';
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
export { listCaps, readTenantCaps, readUserCaps } from './read-caps.ts';
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

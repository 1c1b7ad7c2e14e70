export {
  type AgentListQuery,
  type AgentQuery,
  getAgent,
  listAgents,
  type NewAgentVersion,
  type PlacedAgentVersion,
  publishAgentVersion,
  type Published,
  readNewestVersions,
  type StoredAgent,
} from './agents.ts';
export {
  type ApiKeyListQuery,
  findApiKeyByHash,
  listApiKeys,
  listTenantApiKeys,
  type NewApiKey,
  revokeApiKey,
  type StoredApiKey,
  upsertApiKey,
} from './api-keys.ts';
export type { StoredCaps, StoredUserCaps, TenantAmounts, UserAmounts } from './cap-rows.ts';
export {
  type CapsChange,
  deleteUserCaps,
  ensureTenantWithCaps,
  type NewTenant,
  saveTenantCaps,
  saveUserCaps,
  type TenantCapsUpdate,
  type UserCapsUpdate,
  type ZoneChange,
} from './caps.ts';
export { withCapsLocked } from './caps-lock.ts';
export { COST_GROUPS, type CostGroup, type CostQuery, type CostRow, sumCosts } from './cost-report.ts';
export { listIdempotency, type StoredIdempotency } from './idempotency.ts';
export { type ErasedRun, type ErasureSteps, eraseRunContents, listErased } from './erasure.ts';
export {
  type LegalHold,
  type LegalHoldRef,
  liftLegalHold,
  saveLegalHold,
} from './legal-hold.ts';
export { EditedMigrationError, migrate } from './migrate.ts';
export { countDefaultEvents, detachPartitions, ensurePartitions } from './partitions.ts';
export { pagesOf } from './pages.ts';
export { createPool, type Db, ping, type PoolOptions } from './pool.ts';
export {
  deleteProviderKey,
  listProviderKeys,
  type ProviderKeyRef,
  readProviderKeys,
  saveProviderKey,
  type StoredProviderKey,
  withProviderKeysLocked,
} from './provider-keys.ts';
export { listRunIds, type RunListQuery } from './list-run-ids.ts';
export { readRun, readRuns, readRunsWithin, type RunsQuery, type RunsWithin } from './read-runs.ts';
export { listCaps, readTenantCaps, readUserCaps } from './read-caps.ts';
export { readEntries, readStoredSeq } from './read-entries.ts';
export {
  changeRetention,
  type EndedRun,
  listKeptContents,
  listRetention,
  readRetention,
  type TenantRetention,
} from './retention.ts';
export { ensureTenant, type Tenant } from './tenants.ts';
export {
  abortReplay,
  claimReplay,
  endReplay,
  findReplayOfKey,
  insertReplay,
  type NewReplay,
  readReplay,
  type ReplayOwner,
  type ReplayProgress,
  saveReplay,
  type StoredReplay,
} from './replays.ts';
export {
  type ForkHold,
  type ForkLimits,
  holdFork,
  listForks,
  noteFork,
  type PlannedFork,
  releaseFork,
  type StoredFork,
} from './replay-forks.ts';
export { listReplayable, type ReplayablePage, type ReplayableRun } from './replayable.ts';
export type { ReplayDivergence, ReplayFailure } from './replay-tables.ts';
export type { Tables } from './tables.ts';
export { writeBatch, type WriteResult } from './write.ts';
export type { Quarantined, QuarantineReason } from './write/quarantine.ts';
export type { StoredHead } from './write/run-heads.ts';
export { type OutlinedRun, outlineRuns } from './outline-runs.ts';
export {
  type BatchOrigin,
  checkProgress,
  isRolledBack,
  type Progress,
  raiseIncarnation,
  readProgress,
  RolledBackError,
  withVerificationLock,
} from './incarnation.ts';
export {
  type DaySpend,
  listLiveRuns,
  listRunHeads,
  listWholeHeads,
  readStoredRuns,
  type StoredRunHead,
  sumSpendByDay,
  settledHolds,
  sumSpendByRoot,
  type WholeHead,
} from './verification.ts';
export {
  type AuditFilter,
  type AuditPage,
  type AuditCursor,
  type AuditQuery,
  type AuditRow,
  exportAuditEvents,
  type ExportedEvent,
  listAuditEvents,
} from './read-audit.ts';
export { sumUnstoredSpend, type UnstoredSpend } from './unstored-spend.ts';
export {
  countWrapped,
  listProviderKeysNotUnder,
  listRunKeysNotUnder,
  listSpecsNotUnder,
  replaceRunKeys,
  replaceSpecs,
  rewrapProviderKeys,
  type Rewrapped,
  type WrappedProviderKey,
  type WrappedRunKey,
  type WrappedSpec,
} from './wrapped.ts';
export { listCheckpointHeads, readCheckpointHead } from './checkpoint-heads.ts';
export {
  checkpointAgeSeconds,
  type CheckpointSigner,
  listCheckpoints,
  listTenantsDue,
  MAX_CHECKPOINT_CHAINS,
  takeCheckpoint,
} from './checkpoints.ts';
export { type AuditVerdict, verifyAudit } from './verify-audit.ts';
export { ranOutOfTime } from './store-errors.ts';

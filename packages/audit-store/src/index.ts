export {
  getAgent,
  listAgents,
  publishAgentVersion,
  type Published,
  readNewestVersions,
  type StoredAgent,
} from './tenants/agents.ts';
export {
  findApiKeyByHash,
  listApiKeys,
  listTenantApiKeys,
  revokeApiKey,
  type StoredApiKey,
  upsertApiKey,
} from './keys/api-keys.ts';
export type { StoredCaps, UserAmounts } from './caps/cap-rows.ts';
export {
  type CapsChange,
  deleteUserCaps,
  ensureTenantWithCaps,
  type NewTenant,
  saveTenantCaps,
  saveUserCaps,
  type ZoneChange,
} from './caps/caps.ts';
export { withCapsLocked } from './caps/caps-lock.ts';
export { COST_GROUPS, type CostGroup, type CostRow, sumCosts } from './caps/cost-report.ts';
export { listIdempotency, type StoredIdempotency } from './runs/idempotency.ts';
export { eraseRunContents, listErased } from './retention/erasure.ts';
export { type LegalHold, type LegalHoldRef, liftLegalHold, saveLegalHold } from './retention/legal-hold.ts';
export { migrate } from './migrate.ts';
export { countDefaultEvents, detachPartitions, ensurePartitions } from './retention/partitions.ts';
export { databaseUrl } from './db/database-url.ts';
export { type Page, pageOf, pagesOf } from './db/pages.ts';
export { createPool, type Db, ping } from './db/pool.ts';
export {
  deleteProviderKey,
  listProviderKeys,
  readProviderKeys,
  saveProviderKey,
  withProviderKeysLocked,
} from './keys/provider-keys.ts';
export { listRunIds, type RunListQuery } from './runs/list-run-ids.ts';
export { isRagged } from './runs/ragged.ts';
export { readRun, readRuns, readRunsWithin } from './runs/read-runs.ts';
export { listCaps, readTenantCaps, readUserCaps } from './caps/read-caps.ts';
export { readEntries, readStoredSeq } from './runs/read-entries.ts';
export {
  changeRetention,
  listKeptContents,
  listRetention,
  readRetention,
  type TenantRetention,
} from './retention/retention.ts';
export { ensureTenant } from './tenants/tenants.ts';
export {
  abortReplay,
  type ClaimedReplay,
  claimReplay,
  endReplay,
  insertReplay,
  readReplay,
  type ReplayOwner,
  type ReplayProgress,
  saveReplay,
  type StoredReplay,
} from './replays/replays.ts';
export { findReplayOfKey } from './replays/replay-marks.ts';
export { holdFork, listForks, noteFork, releaseFork, type StoredFork } from './replays/replay-forks.ts';
export { listReplayable, type ReplayablePage, type ReplayableRun } from './replays/replayable.ts';
export type { ReplayDivergence, ReplayFailure } from './replays/replay-tables.ts';
export type { WriteResult } from './write/batch-transaction.ts';
export { writeBatch } from './write/write-batch.ts';
export { outlineRuns } from './runs/outline-runs.ts';
export {
  type BatchOrigin,
  checkProgress,
  isRolledBack,
  raiseIncarnation,
  readProgress,
  RolledBackError,
  withVerificationLock,
} from './trust/incarnation.ts';
export {
  listLiveRuns,
  listRunHeads,
  listWholeHeads,
  readStoredRuns,
  type StoredRunHead,
  sumSpendByDay,
  settledHolds,
  sumSpendByRoot,
} from './trust/verification.ts';
export { type AuditFilter, type AuditCursor, type AuditRow, listAuditEvents } from './audit/read-audit.ts';
export { exportAuditEvents, type ExportedEvent } from './audit/export-audit.ts';
export { sumUnstoredSpend } from './trust/unstored-spend.ts';
export {
  countWrapped,
  listProviderKeysNotUnder,
  listReplaysNotUnder,
  listRunKeysNotUnder,
  listSpecsNotUnder,
  replaceReplays,
  replaceRunKeys,
  replaceSpecs,
  rewrapProviderKeys,
} from './keys/wrapped.ts';
export { listCheckpointHeads, readCheckpointHead } from './audit/checkpoint-heads.ts';
export {
  checkpointAgeSeconds,
  type CheckpointSigner,
  listCheckpoints,
  listTenantsDue,
  MAX_CHECKPOINT_CHAINS,
  takeCheckpoint,
} from './audit/checkpoints.ts';
export { type AuditVerdict, verifyAudit } from './audit/verify-audit.ts';
export { ranOutOfTime } from './db/store-errors.ts';

export { recordAdminEvents } from './audit/admin-events.ts';
export { abortChannel, AbortFlag, type AbortRequest, requestAbort } from './abort/abort.ts';
export { type LogRewrite, rewriteAppendLog } from './redis/append-log.ts';
export {
  acknowledge,
  type AuditReader,
  type Backlog,
  createAuditReader,
  ensureGroup,
  markStored,
  readBacklog,
  readStream,
  rewindGroup,
  type StoredHead,
} from './audit/audit-stream.ts';
export { backfillRun, readHotHeads } from './trust/backfill.ts';
export { type Demand, othersWait, readDemand } from './queue/demand.ts';
export type {
  NextTimeZone,
  TenantCaps,
  TenantCapsChange,
  TenantCapsStart,
  UserCaps,
  UserRef,
} from './caps/caps.ts';
export { type AbortDeps, abortOwnerless } from './abort/abort-ownerless.ts';
export { claimRun, type Claimed, type ClaimOutcome, type ClaimRequest } from './owner/claim.ts';
export {
  type After,
  type Announcement,
  type Commit,
  type CommitReply,
  commitRun,
  type CommitSettlement,
  type Results,
} from './owner/commit.ts';
export { connect, type ConnectionRole, disconnect } from './redis/connection.ts';
export {
  type FoundContent,
  foundContent,
  openContent,
  openContentText,
  openDelta,
  sealContent,
} from './runs/contents.ts';
export { type CostMetric, createCostMetric } from './metrics/cost-metric.ts';
export { chargeLost, type HeldCall, type LostCall } from './owner/lost-call.ts';
export { createAgentLabel, createModelLabels, type ModelLabels } from './metrics/metric-labels.ts';
export { createEndMetrics, type EndMetrics } from './metrics/end-metrics.ts';
export { eraseHot } from './runs/erase.ts';
export {
  awakenRun,
  expireWaits,
  hibernateRuns,
  listLoading,
  listSleepy,
  type Page,
  postponeLoading,
  type SleepyRun,
} from './runs/hibernate.ts';
export { scanHotRuns } from './runs/hot-runs.ts';
export {
  findRepeated,
  IDEMPOTENCY_TTL_MS,
  type IdempotencyRecord,
  restoreIdempotency,
} from './runs/idempotency.ts';
export { Leadership, type LeadershipDeps, leaderLeaseMs, type Role } from './leadership.ts';
export {
  abortedRuns,
  closeLease,
  heldRuns,
  type LeaseRequest,
  releaseRuns,
  openLease,
  type RenewOutcome,
  renewLease,
} from './owner/lease.ts';
export { findLiveRuns, LIVE_STATUSES, type LiveRunFilter, type LiveRuns } from './runs/live-runs.ts';
export {
  type AgentRecord,
  findAgent,
  findPrincipal,
  type KeyRecord,
  latestAgentVersion,
  mirrorAgent,
  mirrorApiKey,
  MIRRORED_VERSIONS,
  type RefusedKey,
} from './keys/mirror.ts';
export { ensureTenantCaps, replaceCaps, setTenantCaps, setUserCaps } from './caps/mirror-caps.ts';
export { Note, noteDraft } from './owner/note.ts';
export { openPartition, type Partition, runKey } from './redis/partition.ts';
export {
  findProviderKeys,
  type ProviderPing,
  readProviderPings,
  replaceProviderKeys,
  saveProviderPing,
  type SealedProviderKey,
} from './keys/provider-keys.ts';
export {
  type ActivationConsumer,
  type ActivationEnd,
  type ActivationQueue,
  consumeActivations,
  type ConsumerOptions,
  giveToQueue,
  openActivationQueue,
} from './queue/queue.ts';
export { type LoadableHold, type LoadableRun } from './trust/loadable-run.ts';
export { getTenantCaps, getUserCaps } from './caps/read-caps.ts';
export { reachingState } from './redis/reaching.ts';
export {
  type HotRun,
  type KnownRun,
  readAbort,
  readEntries,
  readRun,
  readRunFrom,
  readSeq,
  type WantedContents,
} from './runs/read-run.ts';
export { redisUrl } from './redis/redis-url.ts';
export { type Reindexed, reindexRuns } from './queue/reindex.ts';
export { repair, type Repaired, wakeRun } from './queue/repair.ts';
export { type Activation, CommitCode } from './redis/reply.ts';
export { scriptOfSha, type ScriptName } from './redis/scripts.ts';
export {
  checkServers,
  faultsOf,
  redisCheck,
  type RedisCheck,
  type ServerToCheck,
} from './redis/server-check.ts';
export { readSpend, type Spend } from './caps/spend.ts';
export { type Submission, submitRun, type SubmitOutcome } from './runs/submit.ts';
export { createTail, type Hint, publishDelta, type Tail } from './runs/tail.ts';
export { readChargedHolds, readLiveHeads } from './trust/live-holds.ts';
export { type Ledger, restoreCounters } from './trust/restore-counters.ts';
export { countUnrestored, loadRun, setAside } from './trust/restore-runs.ts';
export {
  assertTrusted,
  beginVerification,
  endVerification,
  markTrusted,
  readServerId,
  readTrust,
  type ServerId,
  type Trust,
  type TrustMarker,
  type Verification,
  withdrawTrust,
} from './trust/trust.ts';
export { type HotWrapped, listHotWrapped, listStreamWrapped, replaceHotWrapped } from './keys/wrapped.ts';

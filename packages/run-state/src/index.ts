export { recordAdminEvents } from './admin-events.ts';
export { abortChannel, AbortFlag, type AbortRequest, requestAbort } from './abort.ts';
export { type LogRewrite, rewriteAppendLog } from './append-log.ts';
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
} from './audit-stream.ts';
export { backfillRun, readHotHeads } from './backfill.ts';
export { type Demand, othersWait, readDemand } from './demand.ts';
export type {
  NextTimeZone,
  TenantCaps,
  TenantCapsChange,
  TenantCapsStart,
  UserCaps,
  UserRef,
} from './caps.ts';
export { type AbortDeps, abortOwnerless } from './abort-ownerless.ts';
export { claimRun, type Claimed, type ClaimOutcome, type ClaimRequest } from './claim.ts';
export {
  type After,
  type Announcement,
  type Commit,
  type CommitReply,
  commitRun,
  type CommitSettlement,
  type Results,
} from './commit.ts';
export { connect, type ConnectionRole, disconnect } from './connection.ts';
export {
  type FoundContent,
  foundContent,
  openContent,
  openContentText,
  openDelta,
  sealContent,
} from './contents.ts';
export { type CostMetric, createCostMetric } from './cost-metric.ts';
export { chargeLost, type HeldCall, type LostCall } from './lost-call.ts';
export { createAgentLabel, createModelLabels, type ModelLabels } from './metric-labels.ts';
export { createEndMetrics, type EndMetrics } from './end-metrics.ts';
export { eraseHot } from './erase.ts';
export {
  awakenRun,
  expireWaits,
  hibernateRuns,
  listLoading,
  listSleepy,
  type Page,
  postponeLoading,
  type SleepyRun,
} from './hibernate.ts';
export { scanHotRuns } from './hot-runs.ts';
export {
  findRepeated,
  IDEMPOTENCY_TTL_MS,
  type IdempotencyRecord,
  restoreIdempotency,
} from './idempotency.ts';
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
} from './lease.ts';
export { findLiveRuns, LIVE_STATUSES, type LiveRunFilter, type LiveRuns } from './live-runs.ts';
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
} from './mirror.ts';
export { ensureTenantCaps, replaceCaps, setTenantCaps, setUserCaps } from './mirror-caps.ts';
export { Note, noteDraft } from './note.ts';
export { openPartition, type Partition, runKey } from './partition.ts';
export {
  findProviderKeys,
  type ProviderPing,
  readProviderPings,
  replaceProviderKeys,
  saveProviderPing,
  type SealedProviderKey,
} from './provider-keys.ts';
export {
  type ActivationConsumer,
  type ActivationEnd,
  type ActivationQueue,
  consumeActivations,
  type ConsumerOptions,
  openActivationQueue,
} from './queue.ts';
export { type LoadableHold, type LoadableRun } from './loadable-run.ts';
export { getTenantCaps, getUserCaps } from './read-caps.ts';
export { reachingState } from './reaching.ts';
export { type HotRun, readAbort, readEntries, readRun, readSeq, type WantedContents } from './read-run.ts';
export { redisUrl } from './redis-url.ts';
export { reindexRuns } from './reindex.ts';
export { repair, type Repaired, wakeRun } from './repair.ts';
export { type Activation, CommitCode } from './reply.ts';
export { scriptOfSha, type ScriptName } from './scripts.ts';
export { checkServers, faultsOf, redisCheck, type RedisCheck, type ServerToCheck } from './server-check.ts';
export { readSpend, type Spend } from './spend.ts';
export { type Submission, submitRun, type SubmitOutcome } from './submit.ts';
export { createTail, type Hint, publishDelta, type Tail } from './tail.ts';
export {
  countUnrestored,
  type Ledger,
  type LedgerTotal,
  loadRun,
  readLiveHeads,
  readChargedHolds,
  restoreCounters,
  type RunOutline,
  setAside,
} from './restore.ts';
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
} from './trust.ts';
export { type HotWrapped, listHotWrapped, listStreamWrapped, replaceHotWrapped } from './wrapped.ts';

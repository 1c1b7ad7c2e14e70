export { recordAdminEvents } from './audit/admin-events.ts';
export { AbortFlag, requestAbort } from './abort/abort.ts';
export { rewriteAppendLog } from './redis/append-log.ts';
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
} from './audit/audit-stream.ts';
export { backfillRun, readHotHeads } from './trust/backfill.ts';
export { type Demand, othersWait, readDemand } from './queue/demand.ts';
export type { TenantCaps, TenantCapsStart, UserRef } from './caps/caps.ts';
export { abortOwnerless } from './abort/abort-ownerless.ts';
export { claimRun, type Claimed, type ClaimOutcome } from './owner/claim.ts';
export {
  type After,
  type Commit,
  type CommitReply,
  commitRun,
  type CommitSettlement,
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
export { chargeLost, type HeldCall } from './owner/lost-call.ts';
export { createAgentLabel, createModelLabels, type ModelLabels } from './metrics/metric-labels.ts';
export { createEndMetrics, type EndedRun, type EndMetrics } from './metrics/end-metrics.ts';
export { eraseHot } from './runs/erase.ts';
export {
  awakenRun,
  expireWaits,
  hibernateRuns,
  listLoading,
  listSleepy,
  postponeLoading,
  type SleepyRun,
} from './runs/hibernate.ts';
export { scanHotRuns } from './runs/hot-runs.ts';
export { findRepeated, IDEMPOTENCY_TTL_MS, restoreIdempotency } from './runs/idempotency.ts';
export { Leadership, leaderLeaseMs, type Role } from './leadership.ts';
export { abortedRuns, closeLease, heldRuns, releaseRuns, openLease, renewLease } from './owner/lease.ts';
export { findLiveRuns, LIVE_STATUSES, type LiveRunFilter } from './runs/live-runs.ts';
export {
  type AgentRecord,
  findAgent,
  findPrincipal,
  latestAgentVersion,
  mirrorAgent,
  mirrorApiKey,
  MIRRORED_VERSIONS,
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
} from './keys/provider-keys.ts';
export {
  type ActivationConsumer,
  type ActivationEnd,
  type ActivationQueue,
  consumeActivations,
  giveToQueue,
  openActivationQueue,
} from './queue/queue.ts';
export type { LoadableHold, LoadableRun } from './trust/loadable-run.ts';
export { getTenantCaps, getUserCaps } from './caps/read-caps.ts';
export { reachingState } from './redis/reaching.ts';
export {
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
export type { Activation } from './redis/reply.ts';
export { scriptOfSha, type ScriptName } from './redis/evaluate.ts';
export { followTime } from './redis/follow-time.ts';
export { setStrangeAside } from './redis/strange.ts';
export { checkServers, faultsOf, redisCheck, type RedisCheck } from './redis/server-check.ts';
export { readSpend, type Spend } from './caps/spend.ts';
export { type Submission, submitRun } from './runs/submit.ts';
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
  type Trust,
  type Verification,
  withdrawTrust,
} from './trust/trust.ts';
export { listHotWrapped, listStreamWrapped, replaceHotWrapped } from './keys/wrapped.ts';

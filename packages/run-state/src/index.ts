export { abortChannel, abortedAmong, AbortFlag, type AbortRequest, requestAbort } from './abort.ts';
export {
  acknowledge,
  type AuditReader,
  type Backlog,
  createAuditReader,
  ensureGroup,
  markStored,
  readBacklog,
  type StoredHead,
} from './audit-stream.ts';
export { type Demand, readDemand } from './autoscale.ts';
export {
  clearUserCaps,
  ensureTenantCaps,
  getTenantCaps,
  getUserCaps,
  type NextTimeZone,
  replaceCaps,
  setTenantCaps,
  setUserCaps,
  type TenantCaps,
  type TenantCapsChange,
  type TenantCapsStart,
  type UserCaps,
  type UserRef,
} from './caps.ts';
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
export { openContent, sealContent } from './contents.ts';
export { holdLeadership, releaseLeadership } from './leadership.ts';
export {
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
  forgetApiKey,
  type KeyRecord,
  mirrorAgent,
  mirrorApiKey,
} from './mirror.ts';
export { Note, noteDraft } from './note.ts';
export { openPartition, type Partition, runKey } from './partition.ts';
export {
  type ActivationConsumer,
  type ActivationQueue,
  consumeActivations,
  type ConsumerOptions,
  openActivationQueue,
} from './queue.ts';
export { type HotRun, readEntries, readRun } from './read.ts';
export { repair, type Repaired, wakeRun } from './repair.ts';
export { type Activation, CommitCode } from './reply.ts';
export { readSpend, readTenantDay, type Spend } from './spend.ts';
export { type Submission, submitRun, type SubmitOutcome } from './submit.ts';
export { createTail, type Hint, publishDelta, type Tail } from './tail.ts';
export {
  type Ledger,
  type LedgerTotal,
  type LoadableHold,
  type LoadableRun,
  loadRun,
  readLiveHeads,
  restoreCounters,
} from './restore.ts';
export {
  beginVerification,
  endVerification,
  markTrusted,
  readServerId,
  readTrust,
  type TrustMarker,
  type Verification,
  withdrawTrust,
} from './trust.ts';

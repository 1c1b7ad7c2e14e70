export { abortReceipt } from './abort-receipt.ts';
export { idempotencyKey, loopsTripped, modelRequested, succeeded, toolRequested } from './announcement.ts';
export { canonicalJson } from './canonical-json.ts';
export {
  appendAdminDrafts,
  appendDrafts,
  type AppendContext,
  type Appended,
  bodyOf,
  chainBreak,
  type ChainBreak,
  EMPTY_HEAD,
  hashOf,
  type Head,
  hashMatches,
  readAdminEntry,
  readChain,
  readEntry,
} from './chain.ts';
export { type ChainLink, ChainWalk } from './chain-walk.ts';
export {
  checkpointBreak,
  checkpointFault,
  type CheckpointHead,
  keyIdOf,
  merkleRoot,
  NO_CHECKPOINT,
  signCheckpoint,
} from './checkpoint.ts';
export {
  CHECKPOINTS,
  type ExportEvidence,
  type ExportVerdict,
  type FirstBad,
  verifyExport,
} from './verify-export.ts';
export {
  conversationOf,
  type Contents,
  nudgeMessages,
  openingMessages,
  turnMessages,
} from './conversation.ts';
export {
  answerDenial,
  type DenialAnswer,
  type DeniedHold,
  MIN_OUTPUT_TOKENS,
  type ScopeRoom,
} from './denial.ts';
export { apply, fold } from './fold.ts';
export { forkJournal, type ForkOrigin, type NewRun } from './fork.ts';
export { type ForkPoint, forkProblem } from './fork-point.ts';
export { JournalError } from './journal-error.ts';
export { type Action, type CallModel, type CallTool, startsWork } from './action.ts';
export { next } from './next.ts';
export type { PersonalDataKind } from './redaction/personal-data.ts';
export {
  createRedactor,
  type Redactor,
  type RedactorOptions,
  redactorsOf,
  type RedactorOf,
} from './redaction/redactor.ts';
export { HeldSecrets, LEAST_TENANT_SECRET, type SecretOwner } from './redaction/held-secrets.ts';
export { withoutQuotes } from './redaction/quotes.ts';
export { REDACTED } from './redaction/secrets.ts';
export type { Recording } from './recording.ts';
export {
  readJournal,
  replay,
  type Replayed,
  replayEvents,
  type ReplayOptions,
} from './replay.ts';
export { forkStepOf } from './divergence.ts';
export { addedMessages, argsDigest, type Digest, requestDigest, type Said, specText } from './request.ts';
export { contentPeriodDays, isContentDue, type RunEnd } from './retention.ts';
export { decideRetry, type Failure, MAX_ATTEMPTS_PER_MODEL } from './retry.ts';
export {
  type Attempt,
  isEnded,
  lastAttempt,
  type LlmStep,
  type Loop,
  type RunState,
  type StepState,
  type ToolStep,
} from './state.ts';
export { stepsView } from './steps-view.ts';
export { runView, type ViewContents } from './run-view.ts';
export { endOfDayIn, knownZone, tenantDay, type TenantDay, type TenantZone } from './day.ts';

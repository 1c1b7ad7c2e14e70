export { abortReceipt } from './abort-receipt.ts';
export { idempotencyKey, loopsTripped, modelRequested, succeeded, toolRequested } from './announcement.ts';
export { canonicalJson } from './canonical-json.ts';
export {
  appendAdminDrafts,
  appendDrafts,
  bodyOf,
  chainBreak,
  EMPTY_HEAD,
  hashOf,
  type Head,
  hashMatches,
  readAdminEntry,
  readChain,
  readEntry,
} from './chain.ts';
export { ChainWalk } from './chain-walk.ts';
export {
  checkpointBreak,
  checkpointFault,
  type CheckpointHead,
  keyIdOf,
  merkleRoot,
  NO_CHECKPOINT,
  signCheckpoint,
} from './checkpoint.ts';
export { CHECKPOINTS, type ExportVerdict, type FirstBad, verifyExport } from './verify-export.ts';
export { conversationOf, type Contents, nudgeMessages, openingMessages } from './conversation.ts';
export { answerDenial, type ScopeRoom } from './denial.ts';
export { apply, fold } from './fold.ts';
export { forkJournal, type NewRun } from './fork.ts';
export { type ForkPoint, forkProblem } from './fork-point.ts';
export { JournalError } from './journal-error.ts';
export { type Action, type CallModel, type CallTool, startsWork } from './action.ts';
export { next } from './next.ts';
export { createRedactor, type Redactor, redactorsOf, type RedactorOf } from './redaction/redactor.ts';
export { HeldSecrets, LEAST_TENANT_SECRET, type SecretOwner } from './redaction/held-secrets.ts';
export { withoutQuotes } from './redaction/quotes.ts';
export { readJournal, type Replayed, replayEvents, type ReplayOptions } from './replay.ts';
export { forkStepOf } from './divergence.ts';
export { addedMessages, argsDigest, type Digest, requestDigest, specText } from './request.ts';
export { contentPeriodDays, isContentDue } from './retention.ts';
export { decideRetry } from './retry.ts';
export { type Attempt, lastAttempt, type LlmStep, type RunState, type ToolStep } from './state.ts';
export { stepsView } from './steps-view.ts';
export { runView, type ViewContents } from './run-view.ts';
export { endOfDayIn, knownZone, tenantDay, type TenantDay, type TenantZone } from './day.ts';

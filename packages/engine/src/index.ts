export { abortReceipt } from './run/abort-receipt.ts';
export {
  idempotencyKey,
  loopsTripped,
  modelRequested,
  succeeded,
  toolRequested,
} from './run/announcement.ts';
export { canonicalJson } from './journal/canonical-json.ts';
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
} from './journal/chain.ts';
export { ChainWalk } from './journal/chain-walk.ts';
export {
  checkpointBreak,
  checkpointFault,
  type CheckpointHead,
  keyIdOf,
  merkleRoot,
  NO_CHECKPOINT,
  signCheckpoint,
} from './journal/checkpoint.ts';
export { CHECKPOINTS, type ExportVerdict, type FirstBad, verifyExport } from './journal/verify-export.ts';
export { conversationOf, type Contents, nudgeMessages, openingMessages } from './run/conversation.ts';
export { answerDenial, type ScopeRoom } from './run/denial.ts';
export { apply, fold } from './run/fold.ts';
export { forkJournal, type NewRun } from './replay/fork.ts';
export { type ForkPoint, forkProblem } from './replay/fork-point.ts';
export { JournalError } from './journal/journal-error.ts';
export { type Action, type CallModel, type CallTool, startsWork } from './run/action.ts';
export { next } from './run/next.ts';
export { createRedactor, type Redactor, redactorsOf, type RedactorOf } from './redaction/redactor.ts';
export { HeldSecrets, LEAST_TENANT_SECRET, type SecretOwner } from './redaction/held-secrets.ts';
export { withoutQuotes } from './redaction/quotes.ts';
export { readJournal, type Replayed, replayEvents, type ReplayOptions } from './replay/replay.ts';
export { forkStepOf } from './replay/divergence.ts';
export { addedMessages, argsDigest, type Digest, requestDigest, specText } from './run/request.ts';
export { contentPeriodDays, isContentDue } from './retention.ts';
export { decideRetry } from './run/retry.ts';
export { type Attempt, lastAttempt, type LlmStep, type RunState, type ToolStep } from './run/state.ts';
export { stepsView } from './view/steps-view.ts';
export { runView, type ViewContents } from './view/run-view.ts';
export { endOfDayIn, knownZone, tenantDay, type TenantDay, type TenantZone } from './run/day.ts';

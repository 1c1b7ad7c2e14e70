export { abortReceipt } from './abort-receipt.ts';
export {
  appendDrafts,
  type AppendContext,
  type Appended,
  bodyOf,
  chainBreak,
  type ChainBreak,
  EMPTY_HEAD,
  hashOf,
  type Head,
  isAuthentic,
  readEntry,
} from './chain.ts';
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
export { JournalError } from './journal-error.ts';
export { type Action, type CallTool, MAX_NUDGES, next } from './next.ts';
export { REDACTED, redactText } from './redact.ts';
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
export { stepsView, type StepView } from './steps-view.ts';
export { runView, type ViewContents } from './view.ts';
export { dayIn, endOfDayIn, knownZone, tenantDay, type TenantDay, type TenantZone } from './day.ts';

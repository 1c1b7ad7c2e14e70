export {
  ADMIN_EVENT_DATA,
  ADMIN_EVENT_TYPES,
  type AdminActor,
  adminChainOf,
  AdminEvent,
  type AdminEventData,
  AdminEventDraft,
  type AdminEventType,
  type AdminFact,
  isAdminChain,
  SYSTEM_TENANT,
} from './admin-event.ts';
export {
  AgentName,
  agentAad,
  AgentSpec,
  DEFAULT_LIMITS,
  LimitsInput,
  providerKeyAad,
  ToolName,
  toolEntryName,
} from './agent.ts';
export { API_SCOPES, ApiScope, hasScope, type Principal } from './api-key.ts';
export type { AuditRecord, ContentChoice, Entry, SealedContent, StoredRun } from './audit.ts';
export { CheckpointLeaf, CheckpointLine, SignedCheckpoint } from './checkpoint.ts';
export { AnswerContent, SpecContent, SubmissionContent, ToolCall, ToolResultContent } from './content.ts';
export {
  ERROR_CODES,
  ERRORS,
  type ErrorCode,
  type FieldProblem,
  isErrorCode,
  SignalboxError,
} from './errors.ts';
export {
  Actor,
  CapScope,
  CATEGORIES,
  type Category,
  categoryOf,
  Event,
  EVENT_DATA,
  EVENT_TYPES,
  type EventData,
  type EventOf,
  type EventDraft,
  type EventType,
  TERMINAL_EVENTS,
  FinishReason,
  FORK_CHANGES,
  GENESIS,
  Hold,
  IdempotencyMark,
  Nudge,
  Settlement,
  TakenFrom,
} from './event.ts';
export { ForkRequest, StepOutput } from './fork.ts';
export { newId, ReplayId, RunId } from './ids.ts';
export { Instant, utcOf } from './instant.ts';
export { type Json, JsonValue } from './json.ts';
export {
  type CallOptions,
  type Message,
  type ModelAnswer,
  ModelError,
  type ModelPort,
  type ModelRequest,
  type Price,
  type PricePort,
  type ProviderKey,
  type Rates,
  type ToolDefinition,
} from './model.ts';
export { ModelRef, type ProviderName, PROVIDERS, splitModelRef } from './model-ref.ts';
export { CapUsd, fromUsd, MAX_NANO, type Nano, picoToNano, toUsd } from './money.ts';
export { MIN_EVENT_DAYS, Retention, RetentionRequest } from './retention.ts';
export { Divergence, type DivergenceKind, ReplayReport } from './replay-report.ts';
export {
  type Comparison,
  COMPARISONS,
  REPLAY_MODES,
  REPLAY_STATUSES,
  ReplayChanges,
  ReplayFilter,
  type ReplayMode,
  ReplaysRequest,
  type ReplayStatus,
  replayAad,
} from './replays.ts';
export {
  isTerminal,
  NO_USAGE,
  Priority,
  Run,
  RUN_STATUSES,
  RunInput,
  RunLimits,
  RunStatus,
  RunSubmission,
  TERMINAL_STATUSES,
  type TerminalStatus,
  Usage,
  WaitReason,
} from './run.ts';
export { RUN_FILTER, type RunFilter } from './run-filter.ts';
export { Step } from './step.ts';

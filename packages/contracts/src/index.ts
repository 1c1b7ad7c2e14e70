export {
  AgentName,
  AgentSpec,
  DEFAULT_LIMITS,
  LimitsInput,
  TOOL_NAMES,
  ToolEntry,
  ToolName,
  toolEntryName,
} from './agent.ts';
export { API_SCOPES, ApiScope, hasScope, type Principal } from './api-key.ts';
export type { AuditRecord, Entry, SealedContent, StoredRun } from './audit.ts';
export { AnswerContent, SpecContent, SubmissionContent, ToolCall, ToolResultContent } from './content.ts';
export { ERRORS, type ErrorCode, type FieldProblem, isErrorCode, SignalboxError } from './errors.ts';
export {
  Actor,
  CapScope,
  type Category,
  categoryOf,
  Event,
  EVENT_DATA,
  EVENT_TYPES,
  type EventData,
  type EventDraft,
  type EventType,
  FinishReason,
  GENESIS,
  Hold,
  Nudge,
  Settlement,
} from './event.ts';
export { newId, RunId } from './ids.ts';
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
  type Rates,
  type ToolDefinition,
} from './model.ts';
export { ModelRef, type ProviderName, PROVIDERS, splitModelRef } from './model-ref.ts';
export { fromUsd, MAX_NANO, type Nano, NanoAmount, picoToNano, toUsd, Usd } from './money.ts';
export {
  AgentRef,
  InputMessage,
  isTerminal,
  Metadata,
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

/**
 * The one catalogue of errors (craft: fastify). Every code a user can meet, over HTTP (`status`)
 * or as the end of a run (`Run.error.code`, no status), and whether trying again can help.
 */

interface CatalogueEntry {
  readonly title: string;
  readonly retryable: boolean;
  /** HTTP status when the code is answered by a route. Run failures have none. */
  readonly status?: number;
}

const entry = (title: string, retryable: boolean, status?: number): CatalogueEntry =>
  status === undefined ? { title, retryable } : { title, retryable, status };

export const ERRORS = {
  // answered by routes
  invalid_request: entry('The request is not valid', false, 422),
  invalid_json: entry('The body is not JSON', false, 400),
  malformed_request: entry('The request is not HTTP', false, 400),
  headers_too_large: entry('The address and headers are too large', false, 431),
  request_timeout: entry('The request did not come to its end', true, 408),
  unauthenticated: entry('No valid API key', false, 401),
  forbidden: entry('The API key lacks a scope', false, 403),
  not_found: entry('No such thing', false, 404),
  method_not_allowed: entry('The route does not know this method', false, 405),
  payload_too_large: entry('The body is too large', false, 413),
  idempotency_mismatch: entry('The Idempotency-Key was used with another body', false, 422),
  agent_not_found: entry('No such agent', false, 422),
  model_unknown: entry('No such model', false, 422),
  content_erased: entry('What was said in the run is erased', false, 410),
  quota_exceeded: entry('Quota exceeded', false, 422),
  last_admin_key: entry('The last admin key cannot be revoked', false, 409),
  run_terminal: entry('The run has already ended', false, 409),
  run_live: entry('The run has not ended', false, 409),
  journal_broken: entry('The journal of the run is not whole', false, 409),
  legal_hold: entry('The run is under legal hold', false, 409),
  audit_backlog: entry('The audit backlog is full', true, 503),
  state_unavailable: entry('Run state cannot be reached', true, 503),
  state_untrusted: entry('Run state is being verified', true, 503),
  encryption_key_missing: entry('This process lacks an encryption key', true, 503),
  rate_limited: entry('Too many requests', true, 429),
  audit_store_unavailable: entry('The audit store cannot be reached', true, 503),
  audit_behind: entry('The audit store does not have the run yet', true, 503),
  shutting_down: entry('This process is stopping', true, 503),
  internal: entry('Something broke on our side', false, 500),
  // how a run fails; some also refuse a submission
  price_unknown: entry('The model has no known price', false, 422),
  cap_missing: entry('A scope has no cap', false, 422),
  cost_cap_exceeded: entry('A cost cap is used up', false),
  max_steps: entry('The run reached its step limit', false),
  timeout: entry('The run reached its time limit', false),
  loop_detected: entry('The run repeats itself', false),
  provider_error: entry('The model provider failed', true),
  provider_auth: entry('The model provider refused our key', false),
  context_too_long: entry('The conversation exceeds the context window', false),
  tool_error: entry('A tool failed', false),
  invalid_output: entry('The model gave no usable answer', false),
  uncertain_effect: entry('A step that must not be repeated may or may not have happened', false),
  poison_step: entry('The same step brought down several workers', false),
} as const satisfies Record<string, CatalogueEntry>;

export type ErrorCode = keyof typeof ERRORS;
export const ERROR_CODES = Object.keys(ERRORS) as [ErrorCode, ...ErrorCode[]];

export const isErrorCode = (code: string): code is ErrorCode => Object.hasOwn(ERRORS, code);

export interface FieldProblem {
  readonly path: string;
  readonly message: string;
}

interface ErrorDetails {
  readonly errors?: readonly FieldProblem[];
  readonly cause?: unknown;
  /** Seconds after which a retry is worth it. */
  readonly retryAfter?: number;
}

/** An error of the catalogue; `message` says what happened, to what, and what to do. */
export class SignalboxError extends Error {
  override readonly name = 'SignalboxError';
  readonly code: ErrorCode;
  readonly errors: readonly FieldProblem[] | undefined;
  readonly retryAfter: number | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.errors = details.errors;
    this.retryAfter = details.retryAfter;
  }

  get retryable(): boolean {
    return ERRORS[this.code].retryable;
  }

  get status(): number {
    const found: CatalogueEntry = ERRORS[this.code];
    return found.status ?? 500;
  }
}

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ERROR_CODES, ERRORS, type ErrorCode, isErrorCode, SignalboxError } from './errors.ts';

/** The codes of a failed run that users rely on. */
const RUN_FAILURES: readonly ErrorCode[] = [
  'cost_cap_exceeded',
  'price_unknown',
  'cap_missing',
  'max_steps',
  'timeout',
  'loop_detected',
  'provider_error',
  'provider_auth',
  'context_too_long',
  'tool_error',
  'invalid_output',
  'uncertain_effect',
  'poison_step',
];

const STATUSES: Readonly<Partial<Record<ErrorCode, number>>> = {
  invalid_request: 422,
  invalid_json: 400,
  malformed_request: 400,
  headers_too_large: 431,
  request_timeout: 408,
  unauthenticated: 401,
  forbidden: 403,
  not_found: 404,
  method_not_allowed: 405,
  payload_too_large: 413,
  idempotency_mismatch: 422,
  agent_not_found: 422,
  model_unknown: 422,
  content_erased: 410,
  quota_exceeded: 422,
  run_terminal: 409,
  last_admin_key: 409,
  run_live: 409,
  journal_broken: 409,
  legal_hold: 409,
  audit_backlog: 503,
  encryption_key_missing: 503,
  state_unavailable: 503,
  state_untrusted: 503,
  shutting_down: 503,
  rate_limited: 429,
  audit_store_unavailable: 503,
  audit_behind: 503,
  internal: 500,
  price_unknown: 422,
  cap_missing: 422,
};

test('every code has a title of its own and is written in snake case', () => {
  for (const code of ERROR_CODES) {
    assert.match(code, /^[a-z]+(_[a-z]+)*$/);
    assert.match(ERRORS[code].title, /^[A-Z].*[^.]$/);
  }
  assert.equal(new Set(ERROR_CODES.map((code) => ERRORS[code].title)).size, ERROR_CODES.length);
});

test('every way a run can fail is in the catalogue', () => {
  assert.deepEqual(
    RUN_FAILURES.filter((code) => !isErrorCode(code)),
    [],
  );
});

test('each code is answered with its status, and a code is either answered or ends a run', () => {
  for (const code of ERROR_CODES) {
    const entry: { readonly status?: number } = ERRORS[code];
    assert.equal(entry.status, STATUSES[code], code);
    assert.equal(new SignalboxError(code, 'x').status, STATUSES[code] ?? 500, code);
    assert.ok(entry.status !== undefined || RUN_FAILURES.includes(code), code);
  }
});

test('what is retryable says so: trouble on our or the provider side, nothing the caller must change', () => {
  const retryable = ERROR_CODES.filter((code) => new SignalboxError(code, 'x').retryable);
  assert.deepEqual(retryable.toSorted(), [
    'audit_backlog',
    'audit_behind',
    'audit_store_unavailable',
    'encryption_key_missing',
    'provider_error',
    'rate_limited',
    'request_timeout',
    'shutting_down',
    'state_unavailable',
    'state_untrusted',
  ]);
});

test('names that every object has are no codes', () => {
  for (const name of ['toString', '__proto__', 'constructor', '', 'Internal']) {
    assert.equal(isErrorCode(name), false);
  }
});

test('an error carries its message, cause, fields and delay', () => {
  const cause = new Error('socket');
  const errors = [{ path: 'input', message: 'required' }];
  const error = new SignalboxError('audit_backlog', 'full', { cause, errors, retryAfter: 5 });
  assert.deepEqual([error.name, error.message, error.cause], ['SignalboxError', 'full', cause]);
  assert.deepEqual([error.errors, error.retryAfter], [errors, 5]);
  const bare = new SignalboxError('internal', 'x');
  assert.deepEqual([bare.errors, bare.retryAfter, 'cause' in bare], [undefined, undefined, false]);
});

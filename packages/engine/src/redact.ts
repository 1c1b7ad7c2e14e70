/**
 * Removes secrets from free text before it reaches a log, a span or an event (R13). One bounded pass of
 * anchored patterns: provider keys, tokens, private keys, credentials in URLs and assignments.
 */
const PATTERNS = [
  String.raw`sk-(?:ant-|proj-|or-v1-)?[\w-]{16,}`,
  String.raw`gsk_\w{16,}`,
  String.raw`AIza[\w-]{30,}`,
  String.raw`xox[abprs]-[\w-]{10,}`,
  String.raw`gh[pousr]_\w{20,}`,
  String.raw`github_pat_\w{20,}`,
  String.raw`(?:AKIA|ASIA)[A-Z0-9]{16}`,
  String.raw`hf_\w{20,}`,
  String.raw`sbk_\w{16,}`,
  String.raw`eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]+`,
  String.raw`-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----[\s\S]{0,8000}?-----END [A-Z ]{0,30}PRIVATE KEY-----`,
];

const SECRET = new RegExp(PATTERNS.join('|'), 'g');
const URL_PASSWORD = /([a-z][a-z0-9+.-]{1,20}:\/\/[^\s:/@]{0,100}:)[^\s/@]{1,200}@/gi;
const BEARER = /\b(bearer|basic)\s+[\w.~+/=-]{8,}/gi;
const ASSIGNED = /\b(api[_-]?key|secret|password|token)(["']?\s*[=:]\s*["']?)[^\s"',;&]{4,}/gi;

export const REDACTED = '[REDACTED]';

export const redactText = (text: string): string =>
  text
    .replace(SECRET, REDACTED)
    .replace(URL_PASSWORD, `$1${REDACTED}@`)
    .replace(BEARER, `$1 ${REDACTED}`)
    .replace(ASSIGNED, `$1$2${REDACTED}`);

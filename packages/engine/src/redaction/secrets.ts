/**
 * Secrets by their form: provider keys, tokens, private keys, credentials in URLs and assignments, and fields
 * whose name says so. What text holds may be chosen by an attacker, so every pattern gives up after a bounded
 * number of characters and the whole takes time linear in the text.
 */

const PATTERNS = [
  // Not inside a word: "task-management-application" is prose. The named kinds are never prose.
  String.raw`sk-(?:ant|proj|or-v1)-[\w-]{16,}`,
  String.raw`(?<![A-Za-z0-9])sk-[\w-]{16,}`,
  String.raw`gsk_\w{16,}`,
  String.raw`AIza[\w-]{30,}`,
  String.raw`xox[abprs]-[\w-]{10,}`,
  String.raw`gh[pousr]_\w{20,}`,
  String.raw`github_pat_\w{20,}`,
  String.raw`(?:AKIA|ASIA)[A-Z0-9]{16}`,
  String.raw`hf_\w{20,}`,
  String.raw`sbk_[\w-]{16,}`,
  String.raw`eyJ[\w-]{8,500}\.[\w-]{8,4000}\.[\w-]+`,
  // A key that was cut off has no END: then everything that looks like base64 lines goes.
  String.raw`-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----(?:[\s\S]{0,8000}?-----END [A-Z ]{0,30}PRIVATE KEY-----|(?:(?:\s|\\[nr])*[A-Za-z0-9+/=]{16,100}){0,100})`,
];

const SECRET = new RegExp(PATTERNS.join('|'), 'g');
const URL_PASSWORD = /([a-z][a-z0-9+.-]{1,20}:\/\/[^\s:/@]{0,100}:)[^\s/@]{1,200}@/gi;
const BEARER = /\b(bearer)\s+[\w.~+/=-]{8,}/gi;
/** Base64 of `user:password`; a capital, digit or `=` after the first letter tells it from "basic information". */
const BASIC = /\b([Bb]asic|BASIC)\s+(?=[\w+/-]{1,100}?[A-Z0-9=])[\w+/=-]{8,}/g;
/**
 * Also at the end of a longer name (`OPENAI_API_KEY=`, `clientSecret:`) and inside JSON kept as text (`\"token\":\"`).
 */
const ASSIGNED =
  /(api[_-]?key|access[_-]?key|secret|passwo?r?d|token)(\\?["']?\s*[=:]\s*\\?["']?)[^\s"',;&]{4,}/gi;

export const REDACTED = '[REDACTED]';

export const redactSecrets = (text: string): string =>
  text
    .replace(SECRET, REDACTED)
    .replace(URL_PASSWORD, `$1${REDACTED}@`)
    .replace(BEARER, `$1 ${REDACTED}`)
    .replace(BASIC, `$1 ${REDACTED}`)
    .replace(ASSIGNED, `$1$2${REDACTED}`);

const SECRET_NAME =
  /^(?:(?:proxy)?authorization|(?:set)?cookie|credentials?|passphrase|pwd)$|(?:api|access|private|secret|encryption|signing)keys?$|(?:secret|passwor[dt]|passwd|token)$/;

/** True when a field's name says that its value is a secret; counters such as `output_tokens` are none. */
export const isSecretName = (name: string): boolean =>
  SECRET_NAME.test(name.toLowerCase().replaceAll(/[-_. ]/g, ''));

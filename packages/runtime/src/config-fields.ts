/**
 * Field schemas for `parseEnv`. Each says what it expects and never repeats the value it was given: it may be a secret.
 * A field without a default is required; `.optional()` makes it optional.
 */
import { z } from 'zod';
import type { WrappingKey } from './sealing.ts';
import { parseUsd } from './usd.ts';
import { VERSION } from './version.ts';

/** `parse` answers undefined for what it does not accept. */
function field<T>(expected: string, parse: (text: string) => T | undefined) {
  return z.string({ error: `expected ${expected}` }).transform((text, context): T => {
    const value = parse(text);
    if (value !== undefined) return value;
    context.addIssue({ code: 'custom', message: `expected ${expected}` });
    return z.NEVER;
  });
}

function wholeNumber(text: string, min: number, max: number): number | undefined {
  if (!/^\d{1,15}$/.test(text)) return undefined;
  const value = Number(text);
  return value >= min && value <= max ? value : undefined;
}

/** Which code runs: the version and, where it is given, the commit. Events name it. */
export const build = z
  .string()
  .regex(/^[\w.+-]{1,64}$/, 'expected a commit: 1 to 64 letters, digits, dots and dashes')
  .optional()
  .transform((commit) => (commit === undefined ? VERSION : `${VERSION}+${commit}`));

/** A TCP port; 0 lets the system pick a free one. */
export const port = (fallback: number) =>
  field('a port, 0 to 65535', (text) => wholeNumber(text, 0, 65_535)).default(fallback);

/** A whole number between bounds; `what` names it. */
export const intBetween = (what: string, least: number, most: number) =>
  field(`${what}, ${least} to ${most}`, (text) => wholeNumber(text, least, most));

export const positiveInt = (fallback: number, most: number) =>
  intBetween('a whole number', 1, most).default(fallback);

const DAY_SECONDS = 86_400;

/** A duration. It has an end, since Node lets a timer of more than 24 days fire at once. */
export const seconds = (fallback: number, most = DAY_SECONDS) =>
  intBetween('a whole number of seconds', 1, most).default(fallback);

/** A URL with one of the protocols (named without colon), returned as it was written. */
export function url(protocols: readonly string[]) {
  const forms = protocols.map((protocol) => `${protocol}://...`).join(' or ');
  return field(`a URL: ${forms}`, (text) => {
    const parsed = URL.parse(text);
    if (parsed === null || !protocols.includes(parsed.protocol.slice(0, -1))) return undefined;
    // Postgres may name its socket directory in ?host=
    return parsed.hostname !== '' || parsed.searchParams.has('host') ? text : undefined;
  });
}

/** Of `startTelemetry`. */
export const otlpEndpoint = url(['http', 'https']).optional();

/** An amount of USD, read into integer nano-USD; the default is written the same way ("0.5"). */
export const usd = (fallback: string) =>
  field('an amount in USD such as 20 or 0.5, at most 9 decimals, at most 9000000', parseUsd).prefault(
    fallback,
  );

const LOG_LEVELS = ['debug', 'info', 'warn', 'error', 'fatal', 'silent'] as const;
export type LogLevel = (typeof LOG_LEVELS)[number];

export const logLevel = z
  .enum(LOG_LEVELS, { error: `expected one of ${LOG_LEVELS.join(', ')}` })
  .default('info');

/** Comma-separated, trimmed, without empty items; none when unset. */
export const csv = field('a comma-separated list', (text) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== ''),
).default([]);

const KEYRING_FORM = 'id:base64(32 bytes)[,id:base64(32 bytes)...]';

/** Keys for `createKeyring`: the first encrypts, all decrypt. Problems name the entry by position only. */
export const keyring = z
  .string({ error: `expected ${KEYRING_FORM}` })
  .transform((text, context): WrappingKey[] => {
    const keys: WrappingKey[] = [];
    for (const [index, entry] of text.split(',').entries()) {
      const match = /^([\w-]{1,64}):([A-Za-z0-9+/]{43}=)$/.exec(entry.trim());
      const [, id = '', key = ''] = match ?? [];
      const doubled = keys.some((other) => other.id === id);
      if (match !== null && !doubled) keys.push({ id, key: Buffer.from(key, 'base64') });
      else {
        const why = doubled ? 'repeats an id' : 'does not have this form';
        context.addIssue({ code: 'custom', message: `expected ${KEYRING_FORM}; entry ${index + 1} ${why}` });
      }
    }
    return keys;
  });

import { HeldSecrets } from './held-secrets.ts';
import { type PersonalDataKind, replacePersonalData } from './personal-data.ts';
import { isSecretName, REDACTED, redactSecrets } from './secrets.ts';

/**
 * The one walker that every text passes on its way out of a process: logs, spans, events, audit views, error
 * messages (R13). First every secret that is loaded, by exact match; then what has the form of a secret; then
 * personal data, which becomes a token that says its kind.
 */
export interface Redactor {
  readonly text: (text: string) => string;
  /** Plain JSON of the same shape; the value of a field whose name says it is secret goes as a whole. */
  readonly json: (value: unknown) => unknown;
}

export interface RedactorOptions {
  /** What this process holds, of all tenants: provider keys, passwords of its stores. */
  readonly secrets?: readonly string[] | HeldSecrets;
  /** A short name for a value, the same for the same value, so that redacted entries can still be related. */
  readonly pseudonym?: (kind: PersonalDataKind, value: string) => string;
}

const TOKEN_LENGTH = 8;

const held = (secrets: readonly string[] | HeldSecrets): HeldSecrets =>
  secrets instanceof HeldSecrets ? secrets : new HeldSecrets(secrets);

const redactorWith = (
  unloaded: (text: string) => string,
  pseudonym: RedactorOptions['pseudonym'],
): Redactor => {
  const token = (kind: PersonalDataKind, value: string): string =>
    pseudonym === undefined ? `[${kind}]` : `[${kind}:${pseudonym(kind, value)}]`;
  const text = (from: string): string => replacePersonalData(redactSecrets(unloaded(from)), token);
  const field = ([name, value]: [string, unknown]): [string, unknown] =>
    isSecretName(name) && value !== null && typeof value !== 'boolean'
      ? [text(name), REDACTED]
      : [text(name), json(value)];
  const json = (value: unknown): unknown => {
    if (typeof value === 'string') return text(value);
    if (Array.isArray(value)) return value.map(json);
    if (typeof value !== 'object' || value === null) return value;
    return Object.fromEntries(Object.entries(value).map(field));
  };
  return { text, json };
};

/** For what is no tenant's alone, such as the log of a process. */
export const createRedactor = ({ secrets = [], pseudonym }: RedactorOptions = {}): Redactor => {
  const loaded = held(secrets);
  return redactorWith((text) => loaded.withoutAny(text), pseudonym);
};

/**
 * A redactor for each tenant, of the environment's secrets and its own: what another tenant calls a secret changes
 * nothing. `digest` is keyed, so tokens tell nothing and differ between tenants.
 */
export type RedactorOf = (tenantId: string) => Redactor;

export const redactorsOf = ({
  secrets,
  digest,
}: {
  secrets: readonly string[] | HeldSecrets;
  digest: (text: string) => string;
}): RedactorOf => {
  const loaded = held(secrets);
  return (tenantId) =>
    redactorWith(
      (text) => loaded.withoutThoseOf(tenantId, text),
      (kind, value) => digest(`redaction ${tenantId} ${kind} ${value}`).slice(0, TOKEN_LENGTH),
    );
};

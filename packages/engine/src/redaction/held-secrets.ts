import { SecretIndex, START } from './secret-index.ts';
import { REDACTED } from './secrets.ts';

/**
 * The secrets a process holds, which texts lose on their way out by exact match (R13): those of its environment for
 * good and everywhere, and the provider keys that tenants set. A tenant chooses what its keys say, so they are taken
 * out of its own texts alone: no word of another tenant goes, and nobody's text is searched for what everybody set.
 */

const LEAST_LENGTH = 6;
/** Shorter text of a tenant is no secret: it may be any word, and vendors' keys are longer. */
export const LEAST_TENANT_SECRET = START;
/** Those that were used last. */
const MOST_TENANTS = 5000;
/** Of one provider: the one in use, and the one before, which a call may still be made with. */
const HELD_PER_PROVIDER = 2;

/** A secret also as it stands in a URL or within JSON. */
const formsOf = (secret: string): string[] => [
  ...new Set([secret, encodeURIComponent(secret), JSON.stringify(secret).slice(1, -1)]),
];

/** Longest first, so that no part of one is left. */
const longestFirst = (forms: readonly string[]): string[] =>
  [...new Set(forms)].toSorted((a, b) => b.length - a.length);

const without = (text: string, forms: readonly string[]): string =>
  forms.reduce((rest, form) => rest.replaceAll(form, REDACTED), text);

/** Whose a secret is. */
export interface SecretOwner {
  readonly tenantId: string;
  readonly provider: string;
}

interface OfTenant {
  readonly byProvider: ReadonlyMap<string, readonly string[]>;
  /** Of these and of the environment. */
  readonly forms: readonly string[];
}

export class HeldSecrets {
  readonly #own: readonly string[];
  readonly #tenants = new Map<string, OfTenant>();
  readonly #ofAll = new SecretIndex();

  /** Shorter ones than 6 signs are no secrets. */
  constructor(own: readonly string[]) {
    this.#own = longestFirst(own.filter(({ length }) => length >= LEAST_LENGTH).flatMap(formsOf));
  }

  /** To be called before the secret is used. It takes the place of the one before the last of this provider. */
  add({ tenantId, provider }: SecretOwner, secret: string): void {
    if (secret.length < LEAST_TENANT_SECRET) return;
    const known = this.#tenants.get(tenantId);
    const before = known?.byProvider.get(provider) ?? [];
    this.#tenants.delete(tenantId);
    if (known !== undefined && before[0] === secret) {
      this.#tenants.set(tenantId, known);
      return;
    }
    const now = [secret, ...before.filter((other) => other !== secret)].slice(0, HELD_PER_PROVIDER);
    for (const form of before.flatMap(formsOf)) this.#ofAll.delete(form);
    for (const form of now.flatMap(formsOf)) this.#ofAll.add(form);
    const byProvider = new Map(known?.byProvider).set(provider, now);
    const forms = longestFirst([...this.#own, ...[...byProvider.values()].flat().flatMap(formsOf)]);
    this.#tenants.set(tenantId, { byProvider, forms });
    this.#makeRoom();
  }

  #makeRoom(): void {
    const [oldest] = this.#tenants;
    if (this.#tenants.size <= MOST_TENANTS || oldest === undefined) return;
    const [tenantId, { byProvider }] = oldest;
    this.#tenants.delete(tenantId);
    for (const form of [...byProvider.values()].flat().flatMap(formsOf)) this.#ofAll.delete(form);
  }

  /** A text of this tenant. */
  withoutThoseOf(tenantId: string, text: string): string {
    return without(text, this.#tenants.get(tenantId)?.forms ?? this.#own);
  }

  /** A text that is nobody's, such as a line of the log. */
  withoutAny(text: string): string {
    return this.#ofAll.without(without(text, this.#own));
  }
}

/**
 * Key rotation: everything the keyring wraps is wrapped again by its first key (R13). The data keys stay, so no content
 * is touched, and whoever has all keys reads everything at every instant: it may run beside the services, be cut off
 * at any point, and run again.
 *
 * A pass takes Postgres, then Redis; each replacement names what it replaces. What was on its way meanwhile (in the
 * audit stream, a hibernated run that is loaded back) is found by the next pass: it is done when nothing is left twice
 * in a row, or gives up when passes change nothing any more.
 */
import {
  countWrapped,
  type Db,
  listProviderKeysNotUnder,
  listReplaysNotUnder,
  listRunKeysNotUnder,
  listSpecsNotUnder,
  pagesOf,
  replaceReplays,
  replaceRunKeys,
  replaceSpecs,
  rewrapProviderKeys,
} from '@signalbox/audit-store';
import { agentAad, providerKeyAad, replayAad } from '@signalbox/contracts';
import {
  assertTrusted,
  listHotWrapped,
  listStreamWrapped,
  type Partition,
  replaceHotWrapped,
} from '@signalbox/run-state';
import { type Clock, type Keyring, SealError } from '@signalbox/runtime';

export interface RotationDeps {
  readonly db: Db;
  readonly partition: Partition;
  readonly keyring: Keyring;
  readonly clock: Clock;
  /** How long it waits for what only others can move on. */
  readonly patienceMs?: number;
}

export interface Rotation {
  readonly runKeys: number;
  readonly agentVersions: number;
  readonly providerKeys: number;
  /** Changes that open replay jobs try. */
  readonly replays: number;
  /** Run records, mirrored agents and provider keys in Redis. */
  readonly hot: number;
  /** What no key of the keyring opens, by where it is. */
  readonly unreadable: readonly string[];
  /** By id of another key than the first: how much it still wraps. */
  readonly left: ReadonlyMap<string, number>;
}

/** No key is called so: all are others. */
const NO_KEY = '';
const BATCH = 500;
const PAUSE_MS = 1000;
const PATIENCE_MS = 60_000;

const keyIdOf = (wrapped: string): string => wrapped.split('.', 1)[0] ?? '';

/** Null: it may stay. A sealed text is a wrapped key and, behind the last dot, what it seals. */
const nextText = (keyring: Keyring, text: string, aad: string): string | null => {
  const [id = '', key = '', ...sealed] = text.split('.');
  const wrapped = `${id}.${key}`;
  // Not by its name alone: another key may have had it.
  if (keyring.isCurrent(wrapped, aad)) return null;
  return [keyring.wrap(keyring.unwrap(wrapped, aad), aad), ...sealed].join('.');
};

/** What a wrapped key belongs to: for the report, and as associated data. */
interface Identity {
  readonly name: string;
  readonly aad: string;
}

class Pass {
  readonly #deps: RotationDeps;
  #isFirst = true;
  readonly unreadable = new Set<string>();
  runKeys = 0;
  agentVersions = 0;
  providerKeys = 0;
  replays = 0;
  hot = 0;

  constructor(deps: RotationDeps) {
    this.#deps = deps;
  }

  get changed(): number {
    return this.runKeys + this.agentVersions + this.providerKeys + this.replays + this.hot;
  }

  /** The first time it opens everything: of what the first key's name stands on, another may be the key. */
  async make(): Promise<void> {
    await this.#runKeys();
    await this.#specs();
    await this.#providerKeys();
    await this.#replays();
    await this.#hot();
    this.#isFirst = false;
  }

  #runKeys(): Promise<void> {
    return this.#walk(
      listRunKeysNotUnder,
      ({ runId }) => ({ name: runId, aad: runId }),
      async (keys) => {
        this.runKeys += await replaceRunKeys(this.#deps.db, keys);
      },
    );
  }

  #specs(): Promise<void> {
    return this.#walk(
      listSpecsNotUnder,
      ({ tenantId, name, version }) => ({
        name: `${tenantId}/${name}@${version}`,
        aad: agentAad(tenantId, name),
      }),
      async (specs) => {
        this.agentVersions += await replaceSpecs(this.#deps.db, specs);
      },
    );
  }

  #providerKeys(): Promise<void> {
    return this.#walk(
      listProviderKeysNotUnder,
      ({ tenantId, provider }) => ({
        name: `${tenantId}'s key of ${provider}`,
        aad: providerKeyAad(tenantId, provider),
      }),
      async (keys) => {
        this.providerKeys += await rewrapProviderKeys(this.#deps.db, keys);
      },
    );
  }

  #replays(): Promise<void> {
    return this.#walk(
      listReplaysNotUnder,
      ({ replayId }) => ({ name: replayId, aad: replayAad(replayId) }),
      async (replays) => {
        this.replays += await replaceReplays(this.#deps.db, replays);
      },
    );
  }

  async #hot(): Promise<void> {
    const { partition } = this.#deps;
    for await (const page of listHotWrapped(partition)) {
      const next = this.#rewrap(page, ({ key, aad }) => ({ name: key, aad }));
      this.hot += await replaceHotWrapped(partition, next);
    }
  }

  async #walk<T extends { readonly wrapped: string }>(
    list: (db: Db, page: { keyId: string; after: T | null; limit: number }) => Promise<T[]>,
    identityOf: (item: T) => Identity,
    replace: (items: readonly (T & { readonly next: string })[]) => Promise<void>,
  ): Promise<void> {
    const { db } = this.#deps;
    const keyId = this.#isFirst ? NO_KEY : this.#deps.keyring.currentId;
    for await (const page of pagesOf<T>(BATCH, (after) => list(db, { keyId, after, limit: BATCH }))) {
      const next = this.#rewrap(page, identityOf);
      if (next.length > 0) await replace(next);
    }
  }

  #rewrap<T extends { readonly wrapped: string }>(
    items: readonly T[],
    identityOf: (item: T) => Identity,
  ): (T & { readonly next: string })[] {
    return items.flatMap((item) => {
      const { name, aad } = identityOf(item);
      try {
        const next = nextText(this.#deps.keyring, item.wrapped, aad);
        return next === null ? [] : [{ ...item, next }];
      } catch (error) {
        if (!(error instanceof SealError)) throw error;
        this.unreadable.add(name);
        return [];
      }
    });
  }
}

/** By id of another key than the first: how much it wraps, here, there and on the way. */
const stillUsed = async ({ db, partition, keyring }: RotationDeps): Promise<Map<string, number>> => {
  // A verification puts back what it read of Postgres before this pass.
  await assertTrusted(partition);
  // In the order in which things move, so that nothing slips past.
  const left = new Map<string, number>();
  const add = (keyId: string, count: number): void => void left.set(keyId, (left.get(keyId) ?? 0) + count);
  for await (const page of listHotWrapped(partition))
    for (const { wrapped } of page) add(keyIdOf(wrapped), 1);
  for (const wrapped of await listStreamWrapped(partition)) add(keyIdOf(wrapped), 1);
  for (const [keyId, count] of await countWrapped(db)) add(keyId, count);
  left.delete(keyring.currentId);
  return left;
};

/** Throws `state_unavailable`, `state_untrusted`, `audit_store_unavailable`: run it again, it goes on. */
export const rotateKeys = async (deps: RotationDeps): Promise<Rotation> => {
  const { clock, patienceMs = PATIENCE_MS } = deps;
  const pass = new Pass(deps);
  let movedAt = clock.monotonic();
  for (let clean = 0; ; ) {
    const before = pass.changed;
    await pass.make();
    const left = await stillUsed(deps);
    clean = left.size === 0 ? clean + 1 : 0;
    if (pass.changed > before) movedAt = clock.monotonic();
    if (clean === 2 || clock.monotonic() - movedAt >= patienceMs) {
      const { runKeys, agentVersions, providerKeys, replays, hot, unreadable } = pass;
      return { runKeys, agentVersions, providerKeys, replays, hot, unreadable: [...unreadable], left };
    }
    await clock.sleep(PAUSE_MS);
  }
};

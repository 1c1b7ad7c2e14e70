import { agentAad, providerKeyAad } from '@signalbox/contracts';
import { readStream } from '../audit/audit-stream.ts';
import type { Partition } from '../redis/partition.ts';
import { reachingState } from '../redis/reaching.ts';
import { Texts } from '../redis/reply.ts';
import { runScript } from '../redis/scripts.ts';

/**
 * What the keyring wraps here: the keys in run records, and mirrored agent specs and provider keys with theirs. Keys on
 * their way in the audit stream are only counted: they become Postgres's.
 */

export interface HotWrapped {
  /** What the key was wrapped for. */
  readonly aad: string;
  /** Of the hash that has it, behind the partition's root. */
  readonly key: string;
  readonly field: string;
  readonly wrapped: string;
}

const RUN = /^run:(run_[0-9a-f]+)$/;
const AGENT = /^agent:(.+):([^:]+)$/;
const PROVIDER_KEYS = /^provider_keys:(.+)$/;
const SCAN_COUNT = 500;

/** Of a hash of sealed texts: what the one in this field was sealed for. */
const aadIn = (key: string): ((field: string) => string) | null => {
  const agent = AGENT.exec(key);
  if (agent !== null) return () => agentAad(agent[1] ?? '', agent[2] ?? '');
  const keys = PROVIDER_KEYS.exec(key);
  return keys === null ? null : (provider) => providerKeyAad(keys[1] ?? '', provider);
};

const wrappedAt = async ({ redis, root }: Partition, key: string): Promise<HotWrapped[]> => {
  const run = RUN.exec(key);
  if (run !== null) {
    const wrapped = await redis.hget(`${root}:${key}`, 'key');
    return wrapped === null ? [] : [{ aad: run[1] ?? '', key, field: 'key', wrapped }];
  }
  const aadOf = aadIn(key);
  if (aadOf === null) return [];
  const sealed = await redis.hgetall(`${root}:${key}`);
  return Object.entries(sealed).map(([field, wrapped]) => ({ aad: aadOf(field), key, field, wrapped }));
};

const scanPage = ({ redis, root }: Partition, cursor: string): Promise<[string, string[]]> =>
  reachingState(() => redis.scan(cursor, 'MATCH', `${root}:*`, 'COUNT', SCAN_COUNT));

/** All that lies here wrapped, a page at a time; something may come twice. Throws `state_unavailable`. */
export async function* listHotWrapped(partition: Partition): AsyncGenerator<HotWrapped[]> {
  let cursor = '0';
  do {
    const [next, keys] = await scanPage(partition, cursor);
    const names = keys.map((key) => key.slice(partition.root.length + 1));
    const page = await reachingState(() => Promise.all(names.map((key) => wrappedAt(partition, key))));
    yield page.flat();
    cursor = next;
  } while (cursor !== '0');
}

/** Answers how many were still what they were. Throws `state_unavailable`, `state_untrusted`. */
export const replaceHotWrapped = async (
  partition: Partition,
  items: readonly (HotWrapped & { readonly next: string })[],
): Promise<number> => {
  if (items.length === 0) return 0;
  const args = items.flatMap(({ key, field, wrapped, next }) => [key, field, wrapped, next]);
  const [, replaced] = Texts.parse(await runScript(partition, 'rewrap', args));
  return Number(replaced);
};

/** Wrapped keys that wait in the audit stream. Throws `state_unavailable`. */
export const listStreamWrapped = (partition: Partition): Promise<string[]> =>
  reachingState(async () => {
    const wrapped: string[] = [];
    for await (const records of readStream(partition, SCAN_COUNT)) {
      for (const { wrappedKey } of records) if (wrappedKey !== null) wrapped.push(wrappedKey);
    }
    return wrapped;
  });

import type { AuditRecord, Entry, SealedContent } from '@signalbox/contracts';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import { batches } from '../redis/batches.ts';
import type { Partition } from '../redis/partition.ts';
import { reachingState } from '../redis/reaching.ts';
import { runScript } from '../redis/scripts.ts';

/**
 * The audit stream of a partition as its one consumer group reads it. An entry is acknowledged and deleted
 * only after its Postgres transaction committed (R8); until then a restart reads it again.
 */
const GROUP = 'audit-writer';

/** One after the other, each about a millisecond: while Redis works on one, every run waits for its write. */
const ENTRIES_AT_ONCE = 500;
const RUNS_AT_ONCE = 100;

const streamKey = (partition: Partition): string => `${partition.root}:audit`;

export interface AuditReader {
  /**
   * What was delivered and never acknowledged, to whomever, oldest first: this consumer takes it over. For the
   * leader only, and at once: nobody else has business with the stream.
   */
  reclaim(count: number): Promise<AuditRecord[]>;
  /** New entries; waits up to `blockMs` for the first. */
  read(count: number, blockMs: number): Promise<AuditRecord[]>;
  /** Forgets the other consumers that have nothing pending. Answers how many. */
  forgetOthers(): Promise<number>;
}

type StreamEntry = readonly [id: string, fields: readonly string[] | null];

const isText = (value: unknown): boolean => typeof value === 'string';
const isEntry = (value: unknown): boolean =>
  Array.isArray(value) &&
  isText(value[0]) &&
  (value[1] === null || (Array.isArray(value[1]) && value[1].every(isText)));
/** One check of all: thousands of entries with a dozen fields come at once, and nothing of them is to be copied. */
const StreamEntries = z.custom<readonly StreamEntry[]>(
  (value) => Array.isArray(value) && value.every(isEntry),
  'no entries of a stream',
);
const ReadReply = z.array(z.tuple([z.string(), StreamEntries])).nullable();
const ClaimReply = z.tuple([z.string(), StreamEntries]).rest(z.unknown());
const Forgotten = z.number();

const toRecord = ([streamId, fields]: StreamEntry): AuditRecord | null => {
  if (fields === null) return null;
  const single = new Map<string, string>();
  const entries: Entry[] = [];
  const contents: SealedContent[] = [];
  for (let i = 0; i + 1 < fields.length; i += 2) {
    const name = fields[i] ?? '';
    const value = fields[i + 1] ?? '';
    if (name === 'e') entries.push(value);
    else if (name === 'c') {
      const space = value.indexOf(' ');
      contents.push([value.slice(0, space), value.slice(space + 1)]);
    } else single.set(name, value);
  }
  const adminDraft = single.get('j');
  const text = (name: string): string => single.get(name) ?? '';
  return {
    streamId,
    runId: text('r'),
    tenantId: text('t'),
    userId: text('u') === '' ? null : text('u'),
    agent: text('a') === '' ? null : text('a'),
    rootRunId: text('o'),
    wrappedKey: single.get('k') ?? null,
    entries,
    contents,
    ...(adminDraft === undefined ? {} : { adminDraft }),
  };
};

const toRecords = (entries: readonly StreamEntry[]): AuditRecord[] =>
  entries.map(toRecord).filter((record) => record !== null);

/** Makes the group if it is not there; reading starts at the oldest entry. */
export const ensureGroup = (partition: Partition): Promise<void> =>
  reachingState(async () => {
    try {
      await partition.redis.xgroup('CREATE', streamKey(partition), GROUP, '0', 'MKSTREAM');
    } catch (error) {
      if (error instanceof Error && error.message.startsWith('BUSYGROUP')) return;
      // A full Redis refuses before it sees that the group is there; who drains it must not wait for room.
      const groups = await partition.redis.xinfo('GROUPS', streamKey(partition)).catch(() => []);
      if (!Array.isArray(groups) || groups.length === 0) throw error;
    }
  });

/**
 * Reading begins again at the oldest entry: what is stored is gone from the stream, so nothing is left out. A Redis
 * that lost the end of its append-only file may hold entries that count as delivered and are with nobody.
 */
export const rewindGroup = (partition: Partition): Promise<void> =>
  reachingState(async () => void (await partition.redis.xgroup('SETID', streamKey(partition), GROUP, '0')));

/** All that waits to be stored, oldest first, without taking it. */
export async function* readStream(partition: Partition, count: number): AsyncGenerator<AuditRecord[]> {
  for (let from = '-'; ; ) {
    const after = from;
    const entries = await reachingState(() =>
      partition.redis.xrange(streamKey(partition), after, '+', 'COUNT', count),
    );
    if (entries.length > 0) yield toRecords(entries);
    if (entries.length < count) return;
    from = `(${entries.at(-1)?.[0] ?? '-'}`;
  }
}

/** `blocking` must be a connection of its own: a blocking read holds it. */
export const createAuditReader = (partition: Partition, blocking: Redis, consumer: string): AuditReader => {
  const stream = streamKey(partition);
  return {
    reclaim: async (count) => {
      const reply = await reachingState(() =>
        blocking.xautoclaim(stream, GROUP, consumer, 0, '0', 'COUNT', count),
      );
      return toRecords(ClaimReply.parse(reply)[1]);
    },
    read: async (count, blockMs) => {
      // Not call(): ioredis knows a read that blocks, and the shape of its RESP3 reply, by the method.
      const reply = await reachingState(() =>
        blocking.xreadgroup(
          'GROUP',
          GROUP,
          consumer,
          'COUNT',
          count,
          'BLOCK',
          blockMs,
          'STREAMS',
          stream,
          '>',
        ),
      );
      return toRecords((ReadReply.parse(reply) ?? []).flatMap(([, entries]) => entries));
    },
    forgetOthers: async () => Forgotten.parse(await runScript(partition, 'consumers', [GROUP, consumer])),
  };
};

/**
 * Acknowledges and deletes entries whose transaction committed (R8). Safe to repeat. `stored`: as many batches Postgres
 * has; one that has fewer later is an older one (Trust).
 */
export const acknowledge = async (
  partition: Partition,
  streamIds: readonly string[],
  stored = 0,
): Promise<void> => {
  for (const ids of batches(streamIds, ENTRIES_AT_ONCE))
    await runScript(partition, 'acknowledge', [GROUP, stored, ...ids]);
};

export interface StoredHead {
  readonly runId: string;
  readonly seq: number;
}

/** Tells run state how far Postgres has come; ended runs that are stored whole expire after `keepSeconds`. */
export const markStored = async (
  partition: Partition,
  heads: readonly StoredHead[],
  keepSeconds: number,
): Promise<void> => {
  for (const some of batches(heads, RUNS_AT_ONCE))
    await runScript(partition, 'stored', [keepSeconds, ...some.flatMap(({ runId, seq }) => [runId, seq])]);
};

export interface Backlog {
  readonly events: number;
  /** Age of the oldest entry in seconds; 0 when there is none. */
  readonly lagSeconds: number;
}

export const readBacklog = async (partition: Partition, nowMs: number): Promise<Backlog> => {
  const stream = streamKey(partition);
  const [events, oldest] = await Promise.all([
    partition.redis.xlen(stream),
    partition.redis.xrange(stream, '-', '+', 'COUNT', 1),
  ]);
  const since = oldest[0] === undefined ? nowMs : Number(oldest[0][0].split('-')[0]);
  return { events, lagSeconds: Math.max(0, (nowMs - since) / 1000) };
};

import type { AuditRecord, Entry, SealedContent } from '@signalbox/contracts';
import type { Redis } from 'ioredis';
import { z } from 'zod';
import type { Partition } from './partition.ts';
import { runScript } from './scripts.ts';

/**
 * The audit stream of a partition as its one consumer group reads it. An entry is acknowledged and deleted
 * only after its Postgres transaction committed (R8); until then a restart reads it again.
 */
const GROUP = 'audit-writer';

const streamKey = (partition: Partition): string => `${partition.root}:audit`;

export interface AuditReader {
  /** Entries this consumer took and never acknowledged, from before a restart. */
  pending(count: number): Promise<AuditRecord[]>;
  /** Takes over what a dead consumer left behind. */
  reclaim(count: number, minIdleMs: number): Promise<AuditRecord[]>;
  /** New entries; waits up to `blockMs` for the first. */
  read(count: number, blockMs: number): Promise<AuditRecord[]>;
}

const Fields = z.array(z.string());
const StreamEntry = z.tuple([z.string(), Fields.nullable()]);
const ReadReply = z.array(z.tuple([z.string(), z.array(StreamEntry)])).nullable();
const ClaimReply = z.tuple([z.string(), z.array(StreamEntry)]).rest(z.unknown());

const toRecord = ([streamId, fields]: z.infer<typeof StreamEntry>): AuditRecord | null => {
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
  };
};

const toRecords = (entries: readonly z.infer<typeof StreamEntry>[]): AuditRecord[] =>
  entries.map(toRecord).filter((record) => record !== null);

/** Makes the group if it is not there; reading starts at the oldest entry. */
export const ensureGroup = async (partition: Partition): Promise<void> => {
  try {
    await partition.redis.xgroup('CREATE', streamKey(partition), GROUP, '0', 'MKSTREAM');
  } catch (error) {
    if (!(error instanceof Error && error.message.startsWith('BUSYGROUP'))) throw error;
  }
};

/** `blocking` must be a connection of its own: a blocking read holds it. */
export const createAuditReader = (partition: Partition, blocking: Redis, consumer: string): AuditReader => {
  const stream = streamKey(partition);
  const readFrom = async (id: string, count: number, blockMs: number | null): Promise<AuditRecord[]> => {
    // Not call(): ioredis knows a read that blocks, and the shape of its RESP3 reply, by the method.
    const reply =
      blockMs === null
        ? await blocking.xreadgroup('GROUP', GROUP, consumer, 'COUNT', count, 'STREAMS', stream, id)
        : await blocking.xreadgroup(
            'GROUP',
            GROUP,
            consumer,
            'COUNT',
            count,
            'BLOCK',
            blockMs,
            'STREAMS',
            stream,
            id,
          );
    return toRecords((ReadReply.parse(reply) ?? []).flatMap(([, entries]) => entries));
  };
  return {
    pending: (count) => readFrom('0', count, null),
    read: (count, blockMs) => readFrom('>', count, blockMs),
    reclaim: async (count, minIdleMs) => {
      const reply = await blocking.xautoclaim(stream, GROUP, consumer, minIdleMs, '0', 'COUNT', count);
      return toRecords(ClaimReply.parse(reply)[1]);
    },
  };
};

/** Acknowledges and deletes entries whose transaction committed (R8). Safe to repeat. */
export const acknowledge = async (partition: Partition, streamIds: readonly string[]): Promise<void> => {
  if (streamIds.length === 0) return;
  const stream = streamKey(partition);
  const reply = await partition.redis
    .multi()
    .xack(stream, GROUP, ...streamIds)
    .xdel(stream, ...streamIds)
    .exec();
  for (const [error] of reply ?? []) if (error !== null) throw error;
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
  if (heads.length === 0) return;
  await runScript(partition, 'stored', [keepSeconds, ...heads.flatMap(({ runId, seq }) => [runId, seq])]);
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

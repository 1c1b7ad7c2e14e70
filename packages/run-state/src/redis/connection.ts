import { systemClock, withTimeout } from '@signalbox/runtime';
import type { Redis, RedisOptions } from 'ioredis';
import { GatheringRedis } from './gathering-redis.ts';

/**
 * Connections by what they are for (settings measured, see the comments). Every command we send is
 * idempotent, so ioredis may resend one whose reply was lost.
 */

export type ConnectionRole = 'state' | 'subscriber' | 'stream' | 'queue' | 'queue-worker';

const retryStrategy = (attempt: number): number =>
  Math.min(50 * 2 ** Math.min(attempt, 6), 2000) + Math.random() * 100;

/**
 * A demoted master behind an address that stays (a virtual IP, a proxy) keeps its sockets and refuses every write: the
 * address is asked anew. What it refused fails: who waits for it tries again, and a queue of what nobody waits for any
 * more would be sent at each attempt.
 */
const reconnectOnError: RedisOptions['reconnectOnError'] = ({ message }) => message.startsWith('READONLY');

const BASE: RedisOptions = { connectTimeout: 3000, keepAlive: 10_000, retryStrategy, reconnectOnError };

/**
 * A connection whose other end is gone without a word (a failed-over server, a firewall) would keep its socket for a
 * quarter of an hour: it is given up when a reply is due for so long. Longer than a script or a failover takes.
 */
const SILENT_MS = 8000;
/** BullMQ blocks for up to 10 s. */
const SILENT_BLOCKING_MS = 15_000;

const OPTIONS: Record<ConnectionRole, RedisOptions> = {
  // Scripts: fail within seconds and let the caller decide; many runs share one socket.
  state: {
    ...BASE,
    maxRetriesPerRequest: 2,
    commandTimeout: 5000,
    socketTimeout: SILENT_MS,
  },
  subscriber: { ...BASE, maxRetriesPerRequest: null },
  // Blocking reads have no command timeout; the watchdog is a little longer than BLOCK.
  stream: { ...BASE, maxRetriesPerRequest: null, blockingTimeout: 10_000, blockingTimeoutGrace: 2000 },
  queue: { ...BASE, maxRetriesPerRequest: 1, commandTimeout: 3000, socketTimeout: SILENT_MS },
  'queue-worker': { ...BASE, maxRetriesPerRequest: null, socketTimeout: SILENT_BLOCKING_MS },
};

export interface ConnectionEvents {
  readonly onError: (error: Error) => void;
}

/** Opens a connection. Errors are reported, not thrown: ioredis reconnects by itself. */
export const connect = (url: string, role: ConnectionRole, { onError }: ConnectionEvents): Redis => {
  const redis = new GatheringRedis(url, { ...OPTIONS[role], replyMapping: 'legacy' });
  redis.on('error', onError);
  return redis;
};

/** For a server that answers; one that is gone without a word would hold up an orderly end. */
const QUIT_MS = 1000;

/** Sends what is under way, then closes; does not wait for a server that does not answer. */
export const disconnect = async (redis: Redis): Promise<void> => {
  if (redis.status === 'ready') await withTimeout(redis.quit(), QUIT_MS, systemClock).catch(() => undefined);
  redis.disconnect();
};

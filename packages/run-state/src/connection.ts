import { Redis, type RedisOptions } from 'ioredis';

/**
 * Connections by what they are for (settings measured, see the comments). Every command we send is
 * idempotent, so ioredis may resend one whose reply was lost.
 */
export type ConnectionRole = 'state' | 'subscriber' | 'stream' | 'queue' | 'queue-worker';

const retryStrategy = (attempt: number): number =>
  Math.min(50 * 2 ** Math.min(attempt, 6), 2000) + Math.random() * 100;

const BASE: RedisOptions = { connectTimeout: 3000, keepAlive: 10_000, retryStrategy };

const OPTIONS: Record<ConnectionRole, RedisOptions> = {
  // Scripts: fail within seconds and let the caller decide; many runs share one socket.
  state: { ...BASE, maxRetriesPerRequest: 2, commandTimeout: 5000, enableAutoPipelining: true },
  subscriber: { ...BASE, maxRetriesPerRequest: null },
  // Blocking reads have no command timeout; the watchdog is a little longer than BLOCK.
  stream: { ...BASE, maxRetriesPerRequest: null, blockingTimeout: 10_000, blockingTimeoutGrace: 2000 },
  queue: { ...BASE, maxRetriesPerRequest: 1, commandTimeout: 3000 },
  'queue-worker': { ...BASE, maxRetriesPerRequest: null },
};

export interface ConnectionEvents {
  readonly onError: (error: Error) => void;
}

/** Opens a connection. Errors are reported, not thrown: ioredis reconnects by itself. */
export const connect = (url: string, role: ConnectionRole, { onError }: ConnectionEvents): Redis => {
  const redis = new Redis(url, { ...OPTIONS[role], replyMapping: 'legacy' });
  redis.on('error', onError);
  return redis;
};

/** Closes without waiting for a server that does not answer. */
export const disconnect = async (redis: Redis): Promise<void> => {
  if (redis.status === 'ready') await redis.quit().catch(() => undefined);
  redis.disconnect();
};

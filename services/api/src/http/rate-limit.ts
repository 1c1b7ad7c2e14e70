import { type Principal, SignalboxError } from '@signalbox/contracts';
import { type Partition, reachingState } from '@signalbox/run-state';
import { RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible';

/**
 * How many requests a key may make, and all keys of its tenant together: keys cost nothing. The counts lie in Redis, so
 * all processes share them; without Redis no request could be served anyway, so there is no way around. A key above its
 * limit is refused from this process's memory until the window is over, which costs Redis nothing.
 */
export interface RateLimit {
  /** Counts one request. Throws `rate_limited`, `state_unavailable`. */
  take(caller: Caller): Promise<void>;
  /**
   * Counts what a request holds beside itself: all of it, or when that is too much for the rest of the window none, and
   * the key may go on with less. More than a whole window counts as all of it. Throws like `take`.
   */
  takeMore(caller: Caller, more: number): Promise<void>;
}

type Caller = Pick<Principal, 'keyId' | 'tenantId'>;

/** A burst may use the window's requests at once. */
const WINDOW_SECONDS = 10;

/** Of the limit of a key: what all keys of its tenant may make together. */
const TENANT_KEYS = 10;

/** The library's own, but also a full Redis counts: an abort must not fail for want of a counter. And see `takeMore`. */
const COUNT = `#!lua flags=allow-oom
redis.call('SET', KEYS[1], 0, 'EX', ARGV[2], 'NX')
local more, most = tonumber(ARGV[1]), tonumber(ARGV[3])
local counted = tonumber(redis.call('GET', KEYS[1]))
if more <= 1 or counted + more <= most then redis.call('INCRBY', KEYS[1], more) end
return { counted + more, redis.call('PTTL', KEYS[1]) }`;

interface Counted {
  readonly name: string;
  /** As a refusal calls it. */
  readonly whose: string;
  /** Requests in a window. */
  readonly points: number;
  /** Whether who is above it is refused from memory. Not where a count may still be given back. */
  readonly remembers: boolean;
}

const refusal = (msBeforeNext: number, { whose, points }: Counted): SignalboxError => {
  const seconds = Math.max(1, Math.ceil(msBeforeNext / 1000));
  return new SignalboxError(
    'rate_limited',
    `${whose} made more than ${points} requests in ${WINDOW_SECONDS} s, ten runs of a batch counted as one. Try again in ${seconds} s.`,
    { retryAfter: seconds },
  );
};

/** Its types leave out how long a key is still refused from memory. */
type Remembering = RateLimiterRedis & { getInMemoryBlockMsBeforeExpire(key: string): number };

interface Count {
  /** Counts a request. */
  one(id: string): Promise<void>;
  /** Counts what a request holds beside itself. */
  more(id: string, requests: number): Promise<void>;
  /** As if the request had not been. */
  giveBack(id: string): Promise<void>;
  /** Throws what this process's memory knows of `id`. */
  remembered(id: string): void;
}

const createCount = (partition: Partition, counted: Counted): Count => {
  const { name, points, remembers } = counted;
  const options = {
    storeClient: partition.redis,
    keyPrefix: `${partition.root}:${name}`,
    points,
    duration: WINDOW_SECONDS,
    customIncrTtlLuaScript: COUNT,
  };
  const single = new RateLimiterRedis({
    ...options,
    ...(remembers ? { inMemoryBlockOnConsumed: points + 1 } : {}),
  }) as Remembering;
  // Remembers nobody: who asked for too much at once is not above the limit.
  const many = new RateLimiterRedis(options);
  const consume = (limiter: RateLimiterRedis, id: string, requests: number): Promise<void> =>
    reachingState(async () => {
      try {
        await limiter.consume(id, requests);
      } catch (error) {
        throw error instanceof RateLimiterRes ? refusal(error.msBeforeNext, counted) : error;
      }
    });
  return {
    one: (id) => consume(single, id, 1),
    // One is the request itself.
    more: (id, requests) => consume(many, id, Math.min(requests, points - 1)),
    giveBack: (id) => reachingState(async () => void (await single.reward(id, 1))),
    remembered: (id) => {
      const ms = single.getInMemoryBlockMsBeforeExpire(single.getKey(id));
      if (ms > 0) throw refusal(ms, counted);
    },
  };
};

/** 0 requests per second: no limit. */
export const createRateLimit = (partition: Partition, perSecond: number): RateLimit => {
  const free = (): Promise<void> => Promise.resolve();
  if (perSecond === 0) return { take: free, takeMore: free };
  const points = perSecond * WINDOW_SECONDS;
  const ofKey = createCount(partition, { name: 'rate', whose: 'This API key', points, remembers: true });
  const ofTenant = createCount(partition, {
    name: 'tenant-rate',
    whose: 'The API keys of this tenant together',
    points: points * TENANT_KEYS,
    remembers: false,
  });
  return {
    // Both in one round trip. What one key is refused for is nothing to the others of its tenant.
    take: async ({ keyId, tenantId }) => {
      ofKey.remembered(keyId);
      const [key, tenant] = await Promise.allSettled([ofKey.one(keyId), ofTenant.one(tenantId)]);
      if (key.status === 'rejected') {
        await ofTenant.giveBack(tenantId);
        throw key.reason;
      }
      if (tenant.status === 'rejected') throw tenant.reason;
    },
    takeMore: async ({ keyId, tenantId }, more) => {
      if (more === 0) return;
      await ofKey.more(keyId, more);
      await ofTenant.more(tenantId, more);
    },
  };
};

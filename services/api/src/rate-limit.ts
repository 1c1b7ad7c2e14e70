import { SignalboxError } from '@signalbox/contracts';
import { type Partition, reachingState } from '@signalbox/run-state';
import { RateLimiterRedis, RateLimiterRes } from 'rate-limiter-flexible';

/**
 * How many requests a key may make. The counts lie in Redis, so all processes share them; without Redis no
 * request could be served anyway, so there is no way around. A key above its limit is refused from this
 * process's memory until its window is over, which costs Redis nothing.
 */
export interface RateLimit {
  /** Counts one request. Throws `rate_limited`, `state_unavailable`. */
  take(keyId: string): Promise<void>;
}

/** A burst may use the window's requests at once. */
const WINDOW_SECONDS = 10;

/** The library's own, but also a full Redis counts: an abort must not fail for want of a counter (R9). */
const COUNT = `#!lua flags=allow-oom
redis.call('SET', KEYS[1], 0, 'EX', ARGV[2], 'NX')
local consumed = redis.call('INCRBY', KEYS[1], ARGV[1])
return { consumed, redis.call('PTTL', KEYS[1]) }`;

const refusal = ({ msBeforeNext }: RateLimiterRes, perSecond: number): SignalboxError => {
  const seconds = Math.max(1, Math.ceil(msBeforeNext / 1000));
  return new SignalboxError(
    'rate_limited',
    `This API key made more than ${perSecond * WINDOW_SECONDS} requests in ${WINDOW_SECONDS} s. Try again in ${seconds} s.`,
    { retryAfter: seconds },
  );
};

/** 0 requests per second: no limit. */
export const createRateLimit = (partition: Partition, perSecond: number): RateLimit => {
  if (perSecond === 0) return { take: () => Promise.resolve() };
  const points = perSecond * WINDOW_SECONDS;
  const limiter = new RateLimiterRedis({
    storeClient: partition.redis,
    keyPrefix: `${partition.root}:rate`,
    points,
    duration: WINDOW_SECONDS,
    inMemoryBlockOnConsumed: points + 1,
    customIncrTtlLuaScript: COUNT,
  });
  return {
    take: (keyId) =>
      reachingState(async () => {
        try {
          await limiter.consume(keyId);
        } catch (error) {
          throw error instanceof RateLimiterRes ? refusal(error, perSecond) : error;
        }
      }),
  };
};

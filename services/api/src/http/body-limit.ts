import type { MiddlewareHandler } from 'hono';
import { bodyLimit } from 'hono/body-limit';
import type { ApiContext, ApiEnv } from '../deps.ts';

/**
 * Refuses bodies that are too large. A length that was told is enough to judge by, since nobody can send more than that;
 * Hono's own limit would first make a web stream of every body, which costs as much as a route's whole work on it.
 */
export const limitBody = (
  maxSize: number,
  onError: (c: ApiContext) => Promise<never>,
): MiddlewareHandler<ApiEnv> => {
  const counting = bodyLimit({ maxSize, onError });
  return (c, next) => {
    const told = c.req.header('content-length');
    if (told === undefined || c.req.header('transfer-encoding') !== undefined) return counting(c, next);
    return Number(told) > maxSize ? onError(c) : next();
  };
};

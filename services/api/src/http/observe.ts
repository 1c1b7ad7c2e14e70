import type { MiddlewareHandler } from 'hono';
import { routeOf } from './auth.ts';
import type { ApiDeps, ApiEnv } from '../deps.ts';

/** Times each request by its route pattern; ids stay out of metrics. */
export const observe =
  ({ clock, counters, logger }: Pick<ApiDeps, 'clock' | 'counters' | 'logger'>): MiddlewareHandler<ApiEnv> =>
  async (c, next) => {
    const startedAt = clock.monotonic();
    await next();
    const seconds = (clock.monotonic() - startedAt) / 1000;
    const route = routeOf(c)?.split(' ')[1] ?? 'none';
    const { method } = c.req;
    const { status } = c.res;
    counters.requestDone({ method, route, status }, seconds);
    logger.debug('request', {
      method,
      route,
      status,
      ms: Math.round(seconds * 1000),
      request_id: c.get('requestId'),
    });
  };

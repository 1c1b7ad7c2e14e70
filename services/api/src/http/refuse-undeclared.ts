import { z } from '@hono/zod-openapi';
import type { MiddlewareHandler } from 'hono';
import { routeOf } from './auth.ts';
import type { Api, ApiContext, ApiEnv } from '../deps.ts';
import { routeKey } from './openapi.ts';
import { parseAs, readOptionalBody } from './validation.ts';

/**
 * Unknown fields are refused also where a route takes no query, or no body: with a `?dry_run=true` that nobody reads
 * a rehearsal would stop every run in earnest.
 */

interface Declared {
  readonly query: boolean;
  readonly body: boolean;
}

const NOTHING = z.strictObject({});

const declaredBy = (app: Api): ReadonlyMap<string, Declared> =>
  new Map(
    app.openAPIRegistry.definitions.flatMap((definition) => {
      if (definition.type !== 'route') return [];
      const { method, path, request } = definition.route;
      return [
        [routeKey(method, path), { query: request?.query !== undefined, body: request?.body !== undefined }],
      ] as const;
    }),
  );

/** What a GET brings means nothing, by HTTP. */
const mayBringBody = ({ req }: ApiContext): boolean => req.method !== 'GET' && req.method !== 'HEAD';

/** Of the routes that `app` has by its first request. */
export const refuseUndeclared = (app: Api): MiddlewareHandler<ApiEnv> => {
  let known: ReadonlyMap<string, Declared> | undefined;
  return async (c, next) => {
    known ??= declaredBy(app);
    const declared = known.get(routeOf(c) ?? '');
    if (declared !== undefined) {
      if (!declared.query) parseAs(NOTHING, c.req.query());
      if (!declared.body && mayBringBody(c)) await readOptionalBody(c, NOTHING);
    }
    await next();
  };
};

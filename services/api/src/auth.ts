import { hasScope, type Principal, SignalboxError } from '@signalbox/contracts';
import { findPrincipal } from '@signalbox/run-state';
import { sha256Hex } from '@signalbox/runtime';
import type { MiddlewareHandler } from 'hono';
import { matchedRoutes } from 'hono/route';
import type { ApiContext, ApiDeps, ApiEnv } from './deps.ts';
import { SCOPES } from './scopes.ts';
import { reachingState } from './state-errors.ts';

const BEARER = /^bearer +([\x21-\x7e]{1,512})$/i;

type AuthDeps = Pick<ApiDeps, 'partition' | 'clock' | 'counters' | 'rateLimit'>;

const authenticate = async (
  { partition, clock }: AuthDeps,
  header: string | undefined,
): Promise<Principal> => {
  const secret = BEARER.exec(header ?? '')?.[1];
  if (secret === undefined) {
    throw new SignalboxError('unauthenticated', 'Send an API key: Authorization: Bearer <key>.');
  }
  const principal = await reachingState(() => findPrincipal(partition, sha256Hex(secret), clock.now()));
  if (principal === null) throw new SignalboxError('unauthenticated', 'This API key is unknown or expired.');
  return principal;
};

/** `METHOD /pattern` of the route that will answer; undefined when none does. */
export const routeOf = (c: ApiContext): string | undefined => {
  const route = matchedRoutes(c).findLast(({ method }) => method !== 'ALL');
  return route === undefined ? undefined : `${route.method} ${route.path}`;
};

const authorize = (principal: Principal, route: string): void => {
  const scope = SCOPES[route];
  if (scope === undefined) throw new SignalboxError('internal', `route ${route} names no scope`);
  if (hasScope(principal, scope)) return;
  throw new SignalboxError('forbidden', `This needs scope ${scope}; the API key does not hold it.`);
};

/** Recognises the caller, how often they may ask and what they may do, before anything else of the request is looked at. */
export const auth =
  (deps: AuthDeps): MiddlewareHandler<ApiEnv> =>
  async (c, next) => {
    const principal = await authenticate(deps, c.req.header('authorization'));
    c.set('principal', principal);
    deps.counters.tenantSeen(principal.tenantId);
    await deps.rateLimit.take(principal.keyId);
    const route = routeOf(c);
    if (route !== undefined) authorize(principal, route);
    await next();
  };

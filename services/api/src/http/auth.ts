import { type ApiScope, hasScope, type Principal, SignalboxError } from '@signalbox/contracts';
import { findPrincipal, reachingState } from '@signalbox/run-state';
import { sha256Hex } from '@signalbox/runtime';
import type { MiddlewareHandler } from 'hono';
import { matchedRoutes } from 'hono/route';
import { byKey, recordFact } from '../audit/admin-trail.ts';
import type { ApiContext, ApiDeps, ApiEnv } from '../deps.ts';
import { createKeyUses, type KeyUses } from '../keys/key-use.ts';
import { SCOPES } from './scopes.ts';

const BEARER = /^bearer +([\x21-\x7e]{1,512})$/i;

/** Enough of the hash to know a source again; the key is not found by it. */
const SOURCE_DIGITS = 12;

type AuthDeps = Pick<ApiDeps, 'partition' | 'clock' | 'counters' | 'rateLimit' | 'redactorOf' | 'refusals'>;

const authenticate = async (
  { partition, clock, refusals }: AuthDeps,
  header: string | undefined,
  route: string | null,
): Promise<Principal> => {
  const secret = BEARER.exec(header ?? '')?.[1];
  if (secret === undefined) {
    refusals.count({ tenantId: null, reason: 'missing_key', source: null, route });
    throw new SignalboxError('unauthenticated', 'Send an API key: Authorization: Bearer <key>.');
  }
  const hash = sha256Hex(secret);
  const found = await reachingState(() => findPrincipal(partition, hash, clock.now()));
  if (!('refused' in found)) return found;
  const { refused, owner } = found;
  const source = owner?.keyId ?? `sha256:${hash.slice(0, SOURCE_DIGITS)}`;
  refusals.count({ tenantId: owner?.tenantId ?? null, reason: refused, source, route });
  // Which of them it is, is nothing to tell a stranger.
  throw new SignalboxError('unauthenticated', 'This API key is unknown, expired or revoked.');
};

/** `METHOD /pattern` of the route that will answer; undefined when none does. */
export const routeOf = (c: ApiContext): string | undefined => {
  const route = matchedRoutes(c).findLast(({ method }) => method !== 'ALL');
  return route === undefined ? undefined : `${route.method} ${route.path}`;
};

const scopesOf = (route: string): readonly ApiScope[] => {
  const scope = SCOPES[route];
  if (scope === undefined) throw new SignalboxError('internal', `route ${route} names no scope`);
  return [scope].flat();
};

const authorize = ({ refusals }: AuthDeps, principal: Principal, route: string): void => {
  const missing = scopesOf(route).find((one) => !hasScope(principal, one));
  if (missing === undefined) return;
  const { tenantId, keyId } = principal;
  refusals.count({ tenantId, reason: 'missing_scope', source: keyId, route });
  throw new SignalboxError('forbidden', `This needs scope ${missing}; the API key does not hold it.`);
};

/** No key is used without a trace of it (R9). */
const noteUse = async (
  deps: AuthDeps,
  uses: KeyUses,
  { principal, route }: { principal: Principal; route: string },
): Promise<void> => {
  const use = { keyId: principal.keyId, admin: scopesOf(route).includes('admin') };
  if (!uses.isNew(use)) return;
  await recordFact(deps, byKey(principal), { type: 'key.used', data: { admin: use.admin, route } });
  uses.written(use);
};

/**
 * Recognises the caller, how often they may ask and what they may do, before anything else of the request is looked at.
 */
export const auth = (deps: AuthDeps): MiddlewareHandler<ApiEnv> => {
  const uses = createKeyUses(deps.clock);
  return async (c, next) => {
    const route = routeOf(c);
    const checkKey = (): Promise<Principal> =>
      authenticate(deps, c.req.header('authorization'), route ?? null);
    const principal = await checkKey();
    c.set('principal', principal);
    c.set('checkKey', checkKey);
    deps.counters.tenantSeen(principal.tenantId);
    await deps.rateLimit.take(principal);
    if (route !== undefined) {
      authorize(deps, principal, route);
      await noteUse(deps, uses, { principal, route });
    }
    await next();
  };
};

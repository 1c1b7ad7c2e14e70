import { createRoute, z } from '@hono/zod-openapi';
import { listTenantApiKeys, type StoredApiKey } from '@signalbox/audit-store';
import { issueKey, revokeKey } from '../keys/api-keys.ts';
import { fromCursor, nextCursor } from '../http/cursor.ts';
import type { Route } from '../deps.ts';
import { keyRequest, type KeyView } from '../keys/key-schemas.ts';
import { answers, jsonOf, PROBLEMS, queryInt } from '../http/openapi.ts';
import { readBody } from '../http/validation.ts';

const PATH = '/v1/keys';
const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 100;
const KEY_ID = /^key_[0-9a-f]{32}$/;

const create = createRoute({
  method: 'post',
  path: PATH,
  tags: ['keys'],
  summary: 'Makes an API key.',
  description:
    'The secret is in this answer and nowhere else. A key cannot grant a scope that it does not hold; admin holds every scope. The key works once this answers 201, at every process.',
  request: { body: { required: true, content: jsonOf('KeyRequest') } },
  responses: { 201: answers('NewKey', 'The key, with its secret.'), ...PROBLEMS },
});

const list = createRoute({
  method: 'get',
  path: PATH,
  tags: ['keys'],
  summary: "The tenant's API keys, expired and revoked ones too, by id.",
  request: {
    query: z.strictObject({
      limit: queryInt(1, MAX_LIMIT).optional(),
      cursor: z.string().max(200).optional(),
    }),
  },
  responses: { 200: answers('KeyList', 'A page of keys.'), ...PROBLEMS },
});

const revoke = createRoute({
  method: 'delete',
  path: `${PATH}/{id}`,
  tags: ['keys'],
  summary: 'Revokes an API key, for good.',
  description:
    'Requests with it are refused once this answers 200; after another answer send it again. A repeated call answers the same. The last key with scope admin cannot be revoked (409 last_admin_key): make another first.',
  request: {
    params: z.strictObject({
      id: z.string().regex(KEY_ID, 'expected an id of the form key_<32 hex digits>'),
    }),
  },
  responses: { 200: answers('Key', 'The key, revoked.'), ...PROBLEMS },
});

const viewOf = (key: StoredApiKey): KeyView => ({
  id: key.id,
  name: key.name,
  scopes: [...key.scopes],
  created_at: key.createdAt.toISOString(),
  expires_at: key.expiresAt?.toISOString() ?? null,
  revoked_at: key.revokedAt?.toISOString() ?? null,
});

export const keys: Route = (app, deps) => {
  app.openapi(create, async (c) => {
    const { body } = await readBody(c, keyRequest(deps.clock));
    const { name, scopes, expires_at } = body;
    const expiresAt = expires_at === undefined || expires_at === null ? null : new Date(expires_at);
    const principal = c.get('principal');
    const { key, secret } = await deps.storeShare.take(principal.tenantId, 'change', () =>
      issueKey(deps, principal, { name, scopes, expiresAt }),
    );
    c.header('cache-control', 'no-store');
    return c.json({ ...viewOf(key), secret }, 201);
  });
  app.openapi(list, async (c) => {
    const { limit = DEFAULT_LIMIT, cursor } = c.req.valid('query');
    const { tenantId } = c.get('principal');
    const query = {
      tenantId,
      limit,
      after: cursor === undefined ? undefined : fromCursor(cursor, (id) => KEY_ID.test(id)),
    };
    const { rows, next } = await deps.storeShare.take(tenantId, 'list', () =>
      listTenantApiKeys(deps.db, query),
    );
    return c.json({ data: rows.map(viewOf), next_cursor: nextCursor(next, (id) => id) }, 200);
  });
  app.openapi(revoke, async (c) => {
    const principal = c.get('principal');
    const { id } = c.req.valid('param');
    const key = await deps.storeShare.take(principal.tenantId, 'change', () =>
      revokeKey(deps, principal, id),
    );
    return c.json(viewOf(key), 200);
  });
};

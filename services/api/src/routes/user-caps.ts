import { createRoute, z } from '@hono/zod-openapi';
import { wellFormed } from '@signalbox/runtime';
import { UserCapsRequest } from '../caps/caps-schemas.ts';
import { viewUserCaps } from '../caps/caps-view.ts';
import { changeUserCaps, dropUserCaps } from '../caps/change-caps.ts';
import type { Route } from '../deps.ts';
import { answers, jsonOf, PROBLEMS } from '../http/openapi.ts';
import { readBody } from '../http/validation.ts';

const PATH = '/v1/caps/users/{user_id}';

/** As submissions name users: what stores cannot hold becomes U+FFFD. */
const params = z.strictObject({ user_id: z.string().min(1).max(256) });
const idOf = (given: z.infer<typeof params>): string => wellFormed(given.user_id);

const read = createRoute({
  method: 'get',
  path: PATH,
  tags: ['caps'],
  summary: "A user's caps and what is left of them.",
  description:
    "inherited names the caps that are the tenant's because the user has none of its own. Of run_usd the smallest of user, tenant, agent and run counts.",
  request: { params },
  responses: { 200: answers('UserCaps', 'Caps and spending now.'), ...PROBLEMS },
});

const change = createRoute({
  method: 'put',
  path: PATH,
  tags: ['caps'],
  summary: "Changes a user's own caps.",
  description:
    'null is none, whatever the tenant says for its users; what is left out stays. In force from the next hold on (run_usd: the next submission) once this answers 200; after another answer send it again.',
  request: { params, body: { required: true, content: jsonOf('UserCapsRequest') } },
  responses: { 200: answers('UserCaps', 'Caps and spending now.'), ...PROBLEMS },
});

const drop = createRoute({
  method: 'delete',
  path: PATH,
  tags: ['caps'],
  summary: "Takes a user's own caps away: the tenant's apply.",
  request: { params },
  responses: { 200: answers('UserCaps', 'Caps and spending now.'), ...PROBLEMS },
});

export const userCaps: Route = (app, deps) => {
  app.openapi(read, async (c) => {
    const { tenantId } = c.get('principal');
    return c.json(await viewUserCaps(deps, { tenantId, userId: idOf(c.req.valid('param')) }), 200);
  });
  app.openapi(change, async (c) => {
    const principal = c.get('principal');
    const userId = idOf(c.req.valid('param'));
    const { body: wanted } = await readBody(c, UserCapsRequest);
    const { tenantId } = principal;
    await deps.storeShare.take(tenantId, 'change', () => changeUserCaps(deps, principal, { userId, wanted }));
    return c.json(await viewUserCaps(deps, { tenantId, userId }), 200);
  });
  app.openapi(drop, async (c) => {
    const principal = c.get('principal');
    const userId = idOf(c.req.valid('param'));
    const { tenantId } = principal;
    await deps.storeShare.take(tenantId, 'change', () => dropUserCaps(deps, principal, userId));
    return c.json(await viewUserCaps(deps, { tenantId, userId }), 200);
  });
};

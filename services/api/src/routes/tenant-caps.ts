import { createRoute } from '@hono/zod-openapi';
import { TenantCapsRequest } from '../caps/caps-schemas.ts';
import { viewTenantCaps } from '../caps/caps-view.ts';
import { changeTenantCaps } from '../caps/change-caps.ts';
import type { Route } from '../deps.ts';
import { answers, jsonOf, PROBLEMS } from '../http/openapi.ts';
import { readBody } from '../http/validation.ts';

const PATH = '/v1/caps/tenant';

const read = createRoute({
  method: 'get',
  path: PATH,
  tags: ['caps'],
  summary: "The tenant's caps and what is left of them.",
  description:
    'spent_usd, held_usd, remaining_usd and resets_at are of the day; month has the same of the month. user_daily_usd, user_monthly_usd and max_concurrent_runs_per_user count for each user without a cap of its own.',
  request: {},
  responses: { 200: answers('TenantCaps', 'Caps and spending now.'), ...PROBLEMS },
});

const change = createRoute({
  method: 'put',
  path: PATH,
  tags: ['caps'],
  summary: "Changes the tenant's caps.",
  description:
    'null is none; what is left out stays. In force from the next hold on once this answers 200; after another answer send it again. A cap below what is spent denies every further call. Another time_zone begins at the next midnight of the zone in force, and what was spent stays on the day it was booked on. Amounts are exact to the nano-USD up to 2,000,000 USD.',
  request: { body: { required: true, content: jsonOf('TenantCapsRequest') } },
  responses: { 200: answers('TenantCaps', 'Caps and spending now.'), ...PROBLEMS },
});

export const tenantCaps: Route = (app, deps) => {
  app.openapi(read, async (c) => c.json(await viewTenantCaps(deps, c.get('principal').tenantId), 200));
  app.openapi(change, async (c) => {
    const principal = c.get('principal');
    const { body } = await readBody(c, TenantCapsRequest);
    const { tenantId } = principal;
    await deps.storeShare.take(tenantId, 'change', () => changeTenantCaps(deps, principal, body));
    return c.json(await viewTenantCaps(deps, tenantId), 200);
  });
};

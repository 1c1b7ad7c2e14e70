import { createRoute } from '@hono/zod-openapi';
import { readRetention } from '@signalbox/audit-store';
import { RetentionRequest } from '@signalbox/contracts';
import { changeTenantRetention } from '../audit/change-retention.ts';
import type { Route } from '../deps.ts';
import { answers, jsonOf, PROBLEMS } from '../http/openapi.ts';
import { readBody } from '../http/validation.ts';

const PATH = '/v1/retention';

const read = createRoute({
  method: 'get',
  path: PATH,
  tags: ['runs'],
  summary: "How long what the tenant's runs said and did is kept.",
  description:
    'content_days null: as long as the events. event_days null: as long as the installation keeps them.',
  request: {},
  responses: { 200: answers('Retention', 'The periods as they are now.'), ...PROBLEMS },
});

const change = createRoute({
  method: 'put',
  path: PATH,
  tags: ['runs'],
  summary: "Changes how long what the tenant's runs said and did is kept.",
  description: [
    'content_days (0 to 3650, at most event_days): so many days after a run has ended, what was said in it is erased like by DELETE /v1/runs/{id}/content, for good and within a minute; 0 is as soon as it has ended. A shorter period counts for the runs that are there, too.',
    'event_days (183, six months, to 3650): its events are kept at least so long. They leave the audit log with the month the run was made in, whole, when every tenant with runs in that month lets them go; what was said is erased when the own period is over.',
    'null is: as long as the events; as long as the installation keeps them. What is left out stays. Legal hold wins over both. The administration chain stays for ever.',
  ].join(' '),
  request: { body: { required: true, content: jsonOf('RetentionRequest') } },
  responses: { 200: answers('Retention', 'The periods as they are now.'), ...PROBLEMS },
});

export const retention: Route = (app, deps) => {
  app.openapi(read, async (c) => c.json(await readRetention(deps.db, c.get('principal').tenantId), 200));
  app.openapi(change, async (c) => {
    const { body } = await readBody(c, RetentionRequest);
    const principal = c.get('principal');
    const changed = await deps.storeShare.take(principal.tenantId, 'change', () =>
      changeTenantRetention(deps, principal, body),
    );
    return c.json(changed, 200);
  });
};

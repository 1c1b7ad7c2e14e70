import { createRoute } from '@hono/zod-openapi';
import type { Route } from '../deps.ts';
import { changeLegalHold, LegalHoldRequest } from '../runs/legal-hold.ts';
import { answers, jsonOf, PROBLEMS } from '../http/openapi.ts';
import { readBody } from '../http/validation.ts';
import { RunParams } from './run-params.ts';

const body = { required: true, content: jsonOf('LegalHoldRequest') };
const responses = { 200: answers('LegalHold', 'The hold as it is now.'), ...PROBLEMS };
const description =
  'What is held is not erased, and the month of its events does not leave the audit log. In force once this answers 200; after another answer send it again.';

const ofRun = createRoute({
  method: 'put',
  path: '/v1/runs/{id}/legal-hold',
  tags: ['runs'],
  summary: 'Holds a run, or lifts its hold.',
  description,
  request: { params: RunParams, body },
  responses,
});

const ofTenant = createRoute({
  method: 'put',
  path: '/v1/legal-hold',
  tags: ['runs'],
  summary: "Holds all of the tenant's runs, or lifts that; holds of single runs stay.",
  description,
  request: { body },
  responses,
});

export const legalHold: Route = (app, deps) => {
  app.openapi(ofRun, async (c) => {
    const principal = c.get('principal');
    const runId = c.req.valid('param').id;
    const { body: wanted } = await readBody(c, LegalHoldRequest);
    const { tenantId } = principal;
    await deps.runs.find(tenantId, runId, 'none');
    const change = () => changeLegalHold(deps, principal, { runId, wanted });
    return c.json(await deps.storeShare.take(tenantId, 'change', change), 200);
  });
  app.openapi(ofTenant, async (c) => {
    const { body: wanted } = await readBody(c, LegalHoldRequest);
    const principal = c.get('principal');
    const change = () => changeLegalHold(deps, principal, { runId: null, wanted });
    return c.json(await deps.storeShare.take(principal.tenantId, 'change', change), 200);
  });
};

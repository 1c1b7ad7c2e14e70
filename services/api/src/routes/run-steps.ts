import { createRoute } from '@hono/zod-openapi';
import { hasScope } from '@signalbox/contracts';
import { noteContentRead } from '../runs/content-read.ts';
import type { Route } from '../deps.ts';
import { answers, PROBLEMS } from '../http/openapi.ts';
import { stepsOf } from '../runs/run-view.ts';
import { RunParams } from './run-params.ts';

const route = createRoute({
  method: 'get',
  path: '/v1/runs/{id}/steps',
  tags: ['runs'],
  summary: 'The steps of a run: what went in, what came out, what it cost.',
  description: 'input and output are null for keys without content:read.',
  request: { params: RunParams },
  responses: { 200: answers('StepList', 'All steps.'), ...PROBLEMS },
});

export const runSteps: Route = (app, deps) => {
  app.openapi(route, async (c) => {
    const principal = c.get('principal');
    const withContents = hasScope(principal, 'content:read');
    const { id } = c.req.valid('param');
    const data = await deps.storeShare.take(principal.tenantId, 'steps', async () => {
      const run = await deps.runs.find(principal.tenantId, id, withContents ? 'all' : 'none');
      if (withContents) await noteContentRead(deps, principal, { runId: run.runId, by: 'steps' });
      return stepsOf(deps, run, withContents);
    });
    return c.json({ data, next_cursor: null }, 200);
  });
};

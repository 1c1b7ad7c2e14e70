import { createRoute, z } from '@hono/zod-openapi';
import { awaitEnd } from '../runs/await-end.ts';
import type { Route } from '../deps.ts';
import { answers, PROBLEMS, queryInt } from '../http/openapi.ts';
import { RunParams } from './run-params.ts';

const MAX_WAIT_SECONDS = 55;

const route = createRoute({
  method: 'get',
  path: '/v1/runs/{id}',
  tags: ['runs'],
  summary: 'A run as it is.',
  description: 'With wait, answers when the run has ended or after that many seconds.',
  request: { params: RunParams, query: z.strictObject({ wait: queryInt(0, MAX_WAIT_SECONDS).optional() }) },
  responses: { 200: answers('Run', 'The run.'), ...PROBLEMS },
});

export const getRun: Route = (app, deps) => {
  app.openapi(route, async (c) => {
    const { view } = await awaitEnd(deps, {
      tenantId: c.get('principal').tenantId,
      runId: c.req.valid('param').id,
      seconds: c.req.valid('query').wait ?? 0,
      signal: c.req.raw.signal,
    });
    return c.json(view, 200);
  });
};

import { createRoute } from '@hono/zod-openapi';
import { abortFlag } from '../runs/abort-flag.ts';
import { abortRunsBy, AbortRunsRequest, MAX_ABORTED } from '../runs/abort-runs.ts';
import type { Route } from '../deps.ts';
import { answers, jsonOf, PROBLEMS } from '../http/openapi.ts';
import { readBody } from '../http/validation.ts';

const route = createRoute({
  method: 'post',
  path: '/v1/runs/abort',
  tags: ['runs'],
  summary: 'Stops all runs that fit a filter.',
  description: `Only runs that have not ended fit, also those just submitted. An empty filter is refused; {"all": true} stops everything. At most ${MAX_ABORTED.toLocaleString('en')} runs per call: while more is true, repeat it. With dry_run nothing is stopped. Runs that a worker holds end moments after the answer.`,
  request: { body: { required: true, content: jsonOf('AbortRunsRequest') } },
  responses: { 202: answers('AbortedRuns', 'How many runs fit, and what became of them.'), ...PROBLEMS },
});

export const abortRuns: Route = (app, deps) => {
  app.openapi(route, async (c) => {
    const principal = c.get('principal');
    const { body } = await readBody(c, AbortRunsRequest);
    const flag = abortFlag(deps, principal, body.reason);
    const wish = { tenantId: principal.tenantId, filter: body.filter, flag };
    return c.json(await abortRunsBy(deps, wish, { dryRun: body.dry_run }), 202);
  });
};

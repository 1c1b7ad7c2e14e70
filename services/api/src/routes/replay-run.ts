import { createRoute } from '@hono/zod-openapi';
import type { Route } from '../deps.ts';
import { answers, PROBLEMS } from '../http/openapi.ts';
import { replayStored } from '../replays/replay-stored.ts';
import { RunParams } from './run-params.ts';

const route = createRoute({
  method: 'post',
  path: '/v1/runs/{id}/replay',
  tags: ['runs'],
  summary: 'Replays a run against its recording.',
  description: [
    'The recorded answers and tool results go through the engine as it is today; each decision and each request it would make is compared with what was recorded.',
    'Calls no provider and no tool, holds no money. A run under way is replayed as far as it has come.',
    'Divergences name digests, models, tools and steps, never what was said. Behind a decision that was another (kind action, tool, end, journal) nothing is compared.',
    'Answers 410 content_erased when contents of the run were erased.',
  ].join(' '),
  request: { params: RunParams },
  responses: {
    200: answers('ReplayReport', 'Whether the replay is identical; else where not.'),
    ...PROBLEMS,
  },
});

export const replayRun: Route = (app, deps) => {
  app.openapi(route, async (c) => {
    const run = await deps.runs.find(c.get('principal').tenantId, c.req.valid('param').id, 'all');
    return c.json({ ...replayStored(deps.keyring, run), provider_calls: 0 }, 200);
  });
};

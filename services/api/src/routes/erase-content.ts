import { createRoute, z } from '@hono/zod-openapi';
import { wellFormed } from '@signalbox/runtime';
import type { Route } from '../deps.ts';
import { eraseRun } from '../runs/erase-run.ts';
import { answers, PROBLEMS } from '../http/openapi.ts';
import { RunParams } from './run-params.ts';

const route = createRoute({
  method: 'delete',
  path: '/v1/runs/{id}/content',
  tags: ['runs'],
  summary: 'Erases what was said in a run that has ended, for good.',
  description: [
    "Destroys the run's key and with it prompts, answers, arguments and results, wherever they are stored.",
    'What the run did and what it cost stays, and its hash chain can still be verified.',
    'A run that has not ended answers 409 run_live: abort it first. One under legal hold answers 409 legal_hold. A repeated call answers the same; after another answer than 200 send it again.',
    'A fork holds copies of its own: erase it too.',
  ].join(' '),
  request: { params: RunParams, query: z.strictObject({ reason: z.string().max(1000).optional() }) },
  responses: { 200: answers('Run', 'The run, without what was said.'), ...PROBLEMS },
});

export const eraseContent: Route = (app, deps) => {
  app.openapi(route, async (c) => {
    const { reason } = c.req.valid('query');
    const principal = c.get('principal');
    const order = {
      principal,
      runId: c.req.valid('param').id,
      reason: reason === undefined ? null : wellFormed(reason),
    };
    const erase = () => eraseRun(deps, order);
    return c.json(await deps.storeShare.take(principal.tenantId, 'change', erase), 200);
  });
};

import { createRoute } from '@hono/zod-openapi';
import { reachingState, readDemand } from '@signalbox/run-state';
import type { Route } from '../deps.ts';
import { answers, PROBLEMS } from '../http/openapi.ts';
import { sharedRead } from '../http/shared-read.ts';
import { autoscaleView } from '../runs/autoscale-view.ts';

const route = createRoute({
  method: 'get',
  path: '/v1/autoscale',
  tags: ['operation'],
  summary:
    'What a scaler needs: runnable is waiting, prioritized and active together, without what a concurrency cap keeps back.',
  request: {},
  responses: { 200: answers('Autoscale', 'Demand and capacity now.'), ...PROBLEMS },
});

export const autoscale: Route = (app, { partition, clock }) => {
  // Every tenant may ask, as often as its rate allows, and an answer costs Redis a look at every tenant.
  const demandNow = sharedRead(clock, () => reachingState(() => readDemand(partition, clock.now())));
  app.openapi(route, async (c) => c.json(autoscaleView(await demandNow()), 200));
};

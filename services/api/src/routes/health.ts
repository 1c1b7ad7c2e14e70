import { createRoute, z } from '@hono/zod-openapi';
import { answerProbe } from '@signalbox/runtime';
import type { Route } from '../deps.ts';

const PROBES = [
  { path: '/healthz', summary: 'Whether the process lives.', type: 'application/json' },
  {
    path: '/readyz',
    summary: 'Whether it can do its work: Redis is required, Postgres only reported.',
    type: 'application/json',
  },
  { path: '/metrics', summary: 'Prometheus metrics.', type: 'text/plain' },
] as const;

/** Without authentication, for kubelets and scrapers. */
export const health: Route = (app, { metrics, ready, clock }) => {
  const live = { status: 'ok', checks: {} } as const;
  for (const { path, summary, type } of PROBES) {
    const route = createRoute({
      method: 'get',
      path,
      tags: ['operation'],
      summary,
      request: {},
      responses: {
        200: { description: 'Yes.', content: { [type]: { schema: z.unknown() } } } as { description: string },
      },
    });
    app.openapi(route, async (c) => {
      const answer = await answerProbe({ metrics, ready, live: () => live, clock }, path);
      if (answer === undefined) return c.notFound();
      return c.body(answer.body, answer.status, {
        'content-type': answer.contentType,
        'cache-control': 'no-store',
      });
    });
  }
};

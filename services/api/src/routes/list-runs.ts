import { createRoute, z } from '@hono/zod-openapi';
import { type Run, RUN_FILTER, RunId, RunStatus } from '@signalbox/contracts';
import { fromCursor, nextCursor } from '../http/cursor.ts';
import type { ApiDeps, Route } from '../deps.ts';
import { answers, PROBLEMS, queryInt } from '../http/openapi.ts';
import type { ListedRun } from '../runs/run-reader.ts';
import { listedView } from '../runs/run-view.ts';

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 100;

const route = createRoute({
  method: 'get',
  path: '/v1/runs',
  tags: ['runs'],
  summary: 'Runs, newest first.',
  description:
    'Read from the audit store: a run appears here moments after it was submitted. A page of runs with long texts may be short before the last one, and one that looks for two or more of status, agent, user_id and session_id short or empty: go on until next_cursor is null.',
  request: {
    query: z.strictObject({
      status: RunStatus.optional(),
      ...RUN_FILTER,
      limit: queryInt(1, MAX_LIMIT).optional(),
      cursor: z.string().max(200).optional(),
    }),
  },
  responses: { 200: answers('RunList', 'A page of runs.'), ...PROBLEMS },
});

/** A damaged journal must not hide all others of the page. */
const viewOrNothing = (deps: ApiDeps, { runId, stored }: ListedRun): Run[] => {
  try {
    return stored === null ? [] : [listedView(deps, stored)];
  } catch (error) {
    deps.logger.error('run left out of a list', { run_id: runId, error });
    return [];
  }
};

const isRunId = (id: string): boolean => RunId.safeParse(id).success;

export const listRuns: Route = (app, deps) => {
  app.openapi(route, async (c) => {
    const { limit = DEFAULT_LIMIT, cursor, ...filter } = c.req.valid('query');
    const { tenantId } = c.get('principal');
    const wanted = {
      tenantId,
      filter,
      limit,
      before: cursor === undefined ? undefined : fromCursor(cursor, isRunId),
    };
    const { rows, next } = await deps.storeShare.take(tenantId, 'list', () => deps.runs.list(wanted));
    const data = rows.flatMap((run) => viewOrNothing(deps, run));
    return c.json({ data, next_cursor: nextCursor(next, (runId) => runId) }, 200);
  });
};

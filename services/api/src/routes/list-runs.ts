import { createRoute, z } from '@hono/zod-openapi';
import { AgentName, type Run, RunId, RunStatus } from '@signalbox/contracts';
import { fromCursor, toCursor } from '../http/cursor.ts';
import type { ApiDeps, Route } from '../deps.ts';
import { answers, PROBLEMS, queryInt } from '../http/openapi.ts';
import type { ListedRun } from '../runs/run-reader.ts';
import { viewOf } from '../runs/run-view.ts';

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 100;

const label = z.string().min(1).max(256).optional();
const time = z.iso.datetime({ offset: true, error: 'expected an RFC 3339 time' }).optional();

const route = createRoute({
  method: 'get',
  path: '/v1/runs',
  tags: ['runs'],
  summary: 'Runs, newest first.',
  description:
    'Read from the audit store: a run appears here moments after it was submitted. A page of runs with long texts may be short before the last one: go on until next_cursor is null.',
  request: {
    query: z.strictObject({
      status: RunStatus.optional(),
      agent: AgentName.optional(),
      user_id: label,
      session_id: label,
      created_after: time,
      created_before: time,
      limit: queryInt(1, MAX_LIMIT).optional(),
      cursor: z.string().max(200).optional(),
    }),
  },
  responses: { 200: answers('RunList', 'A page of runs.'), ...PROBLEMS },
});

/** A damaged journal must not hide all others of the page. */
const viewOrNothing = (deps: ApiDeps, { runId, stored }: ListedRun): Run[] => {
  try {
    return stored === null ? [] : [viewOf(deps, stored)];
  } catch (error) {
    deps.logger.error('run left out of a list', { run_id: runId, error });
    return [];
  }
};

const isRunId = (id: string): boolean => RunId.safeParse(id).success;

export const listRuns: Route = (app, deps) => {
  app.openapi(route, async (c) => {
    const { limit = DEFAULT_LIMIT, cursor, ...query } = c.req.valid('query');
    const { tenantId } = c.get('principal');
    const wanted = {
      tenantId,
      status: query.status,
      agent: query.agent,
      userId: query.user_id,
      sessionId: query.session_id,
      createdAfter: query.created_after,
      createdBefore: query.created_before,
      limit,
      before: cursor === undefined ? undefined : fromCursor(cursor, isRunId),
    };
    const { runs, more } = await deps.storeShare.take(tenantId, 'list', () => deps.runs.list(wanted));
    const last = runs.at(-1);
    const next_cursor = more && last !== undefined ? toCursor(last.runId) : null;
    return c.json({ data: runs.flatMap((run) => viewOrNothing(deps, run)), next_cursor }, 200);
  });
};

import { createRoute, z } from '@hono/zod-openapi';
import { listAgents as listStored } from '@signalbox/audit-store';
import { AgentName } from '@signalbox/contracts';
import { agentView } from '../agents/agent-view.ts';
import { fromCursor, nextCursor } from '../http/cursor.ts';
import type { Route } from '../deps.ts';
import { answers, PROBLEMS, queryInt } from '../http/openapi.ts';

const DEFAULT_LIMIT = 20;
const MAX_LIMIT = 100;

const route = createRoute({
  method: 'get',
  path: '/v1/agents',
  tags: ['agents'],
  summary: 'The latest version of each agent, by name.',
  description: 'A page of large agents may be short before the last one: go on until next_cursor is null.',
  request: {
    query: z.strictObject({
      limit: queryInt(1, MAX_LIMIT).optional(),
      cursor: z.string().max(200).optional(),
    }),
  },
  responses: { 200: answers('AgentList', 'A page of agents.'), ...PROBLEMS },
});

const isName = (name: string): boolean => AgentName.safeParse(name).success;

export const listAgents: Route = (app, deps) => {
  app.openapi(route, async (c) => {
    const { limit = DEFAULT_LIMIT, cursor } = c.req.valid('query');
    const { tenantId } = c.get('principal');
    const query = { tenantId, limit, after: cursor === undefined ? undefined : fromCursor(cursor, isName) };
    const { rows, next } = await deps.storeShare.take(tenantId, 'list', () => listStored(deps.db, query));
    const data = rows.map((agent) => agentView(deps.keyring, agent));
    return c.json({ data, next_cursor: nextCursor(next, (name) => name) }, 200);
  });
};

import { createRoute, z } from '@hono/zod-openapi';
import { getAgent as getStored } from '@signalbox/audit-store';
import { AgentName, SignalboxError } from '@signalbox/contracts';
import { agentView } from '../agents/agent-view.ts';
import type { Route } from '../deps.ts';
import { answers, PROBLEMS, queryInt } from '../http/openapi.ts';

const MAX_VERSION = 999_999_999;

const route = createRoute({
  method: 'get',
  path: '/v1/agents/{name}',
  tags: ['agents'],
  summary: 'A version of an agent, the latest when none is named.',
  request: {
    params: z.strictObject({ name: AgentName }),
    query: z.strictObject({ version: queryInt(1, MAX_VERSION).optional() }),
  },
  responses: { 200: answers('Agent', 'The agent.'), ...PROBLEMS },
});

export const getAgent: Route = (app, deps) => {
  app.openapi(route, async (c) => {
    const { name } = c.req.valid('param');
    const { version } = c.req.valid('query');
    const agent = await getStored(deps.db, { tenantId: c.get('principal').tenantId, name, version });
    if (agent === null) {
      const which = version === undefined ? name : `${name}@${version}`;
      throw new SignalboxError('not_found', `There is no agent ${which}.`);
    }
    return c.json(agentView(deps.keyring, agent), 200);
  });
};

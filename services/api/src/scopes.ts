import type { ApiScope } from '@signalbox/contracts';

/** What a key must hold for each route: the only place that says so. A route that is not here answers nobody. */
export const SCOPES: Readonly<Record<string, ApiScope>> = {
  'POST /v1/runs': 'runs:write',
  'GET /v1/runs': 'runs:read',
  'GET /v1/runs/:id': 'runs:read',
  'GET /v1/runs/:id/events': 'runs:read',
  'GET /v1/runs/:id/steps': 'runs:read',
  'POST /v1/runs/:id/abort': 'runs:write',
  'POST /v1/runs/abort': 'admin',
  'PUT /v1/agents/:name': 'agents:write',
  'GET /v1/agents': 'runs:read',
  'GET /v1/agents/:name': 'runs:read',
  'GET /v1/providers': 'runs:read',
  'GET /v1/caps/tenant': 'runs:read',
  'PUT /v1/caps/tenant': 'admin',
  'GET /v1/caps/users/:user_id': 'runs:read',
  'PUT /v1/caps/users/:user_id': 'admin',
  'DELETE /v1/caps/users/:user_id': 'admin',
  'GET /v1/costs': 'runs:read',
  'GET /v1/autoscale': 'runs:read',
};

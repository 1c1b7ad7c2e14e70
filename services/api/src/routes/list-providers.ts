import { createRoute } from '@hono/zod-openapi';
import { providers } from '@signalbox/providers';
import type { Route } from '../deps.ts';
import { answers, PROBLEMS } from '../openapi.ts';

const route = createRoute({
  method: 'get',
  path: '/v1/providers',
  tags: ['providers'],
  summary: 'The model providers and whether there is a key for them.',
  request: {},
  responses: { 200: answers('ProviderList', 'All providers.'), ...PROBLEMS },
});

export const listProviders: Route = (app, { providerKeys }) => {
  app.openapi(route, (c) => {
    const data = providers.map(({ provider, auth_mode, default_model, key_env }) => ({
      provider,
      auth_mode,
      default_model,
      key: key_env !== null && providerKeys.has(key_env) ? 'env' : 'none',
      last_ping: null,
    }));
    return c.json({ data, next_cursor: null }, 200);
  });
};

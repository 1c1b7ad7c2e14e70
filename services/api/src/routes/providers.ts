import { createRoute, z } from '@hono/zod-openapi';
import { PROVIDERS, SignalboxError } from '@signalbox/contracts';
import { providerEntry, providers as catalogue } from '@signalbox/providers';
import type { ApiContext, Route } from '../deps.ts';
import { answers, jsonOf, PROBLEMS } from '../http/openapi.ts';
import {
  assertTakesKey,
  pingProvider,
  type ProviderRef,
  providerViews,
  removeProviderKey,
  setProviderKey,
} from '../keys/provider-keys.ts';
import { KEY_SHAPE, ProviderKeyRequest, type ProviderView } from '../keys/provider-schemas.ts';
import { invalidRequest, readBody } from '../http/validation.ts';

const PATH = '/v1/providers';
const params = z.strictObject({ provider: z.enum(PROVIDERS) });

const list = createRoute({
  method: 'get',
  path: PATH,
  tags: ['providers'],
  summary: 'The model providers, and whose key calls to them are made with.',
  request: {},
  responses: { 200: answers('ProviderList', 'All providers.'), ...PROBLEMS },
});

const setKey = createRoute({
  method: 'put',
  path: `${PATH}/{provider}/key`,
  tags: ['providers'],
  summary: "Sets the tenant's own key of a provider.",
  description:
    'Kept sealed and never shown again. Calls that begin 5 s after the answer 200 are made with it, at every worker; calls under way end with the key they began with. After another answer send it again.',
  request: { params, body: { required: true, content: jsonOf('ProviderKeyRequest') } },
  responses: { 200: answers('Provider', 'The provider, with key "vault".'), ...PROBLEMS },
});

const removeKey = createRoute({
  method: 'delete',
  path: `${PATH}/{provider}/key`,
  tags: ['providers'],
  summary: "Removes the tenant's own key of a provider.",
  description:
    'The key of the environment is used again, where there is one: by calls that begin 5 s after the answer 200. A repeated call answers the same.',
  request: { params },
  responses: { 200: answers('Provider', 'The provider, with key "env" or "none".'), ...PROBLEMS },
});

const ping = createRoute({
  method: 'post',
  path: `${PATH}/{provider}/ping`,
  tags: ['providers'],
  summary: 'Tries the key with one request that costs nothing.',
  description:
    'last_ping says how it went: that a provider refuses the key, or does not answer, is no error of this request.',
  request: { params },
  responses: { 200: answers('Provider', 'The provider, with this ping as the last.'), ...PROBLEMS },
});

/** Whatever is wrong with the body, nothing of it is repeated: it may be a key in the wrong place (R13). */
const readKey = async (c: ApiContext): Promise<string> => {
  try {
    return (await readBody(c, ProviderKeyRequest)).body.key;
  } catch (error) {
    if (error instanceof SignalboxError && error.code === 'invalid_request')
      throw invalidRequest([{ path: 'key', message: KEY_SHAPE }]);
    throw error;
  }
};

export const providers: Route = (app, deps) => {
  const view = async ({ principal, provider }: ProviderRef): Promise<ProviderView> =>
    (await providerViews(deps, principal.tenantId))(providerEntry(provider));
  const changing = ({ principal }: ProviderRef, change: () => Promise<void>): Promise<void> =>
    deps.storeShare.take(principal.tenantId, 'change', change);
  app.openapi(list, async (c) => {
    const data = catalogue.map(await providerViews(deps, c.get('principal').tenantId));
    return c.json({ data, next_cursor: null }, 200);
  });
  app.openapi(setKey, async (c) => {
    const ref = { principal: c.get('principal'), ...c.req.valid('param') };
    assertTakesKey(providerEntry(ref.provider));
    const key = await readKey(c);
    await changing(ref, () => setProviderKey(deps, ref, key));
    return c.json(await view(ref), 200);
  });
  app.openapi(removeKey, async (c) => {
    const ref = { principal: c.get('principal'), ...c.req.valid('param') };
    await changing(ref, () => removeProviderKey(deps, ref));
    return c.json(await view(ref), 200);
  });
  app.openapi(ping, async (c) => {
    const ref = { principal: c.get('principal'), ...c.req.valid('param') };
    await pingProvider(deps, ref);
    return c.json(await view(ref), 200);
  });
};

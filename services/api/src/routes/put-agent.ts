import { createRoute, z } from '@hono/zod-openapi';
import { ensureTenantWithCaps, publishAgentVersion, type Published } from '@signalbox/audit-store';
import { AgentName, AgentSpec, type Principal } from '@signalbox/contracts';
import { mirrorAgent, reachingState } from '@signalbox/run-state';
import { wellFormedDeep } from '@signalbox/runtime';
import { byKey, recordFact } from '../audit/admin-trail.ts';
import { sealSpec, specDigest } from '../agents/agent-specs.ts';
import { agentView } from '../agents/agent-view.ts';
import { newTenant } from '../caps/new-tenant.ts';
import { checkModels } from '../submission/check-models.ts';
import { checkOutputSchema } from '../submission/check-output-schema.ts';
import type { ApiDeps, Route } from '../deps.ts';
import { answers, jsonOf, PROBLEMS } from '../http/openapi.ts';
import { invalidFromZod, readBody } from '../http/validation.ts';

const route = createRoute({
  method: 'put',
  path: '/v1/agents/{name}',
  tags: ['agents'],
  summary: 'A new immutable version of an agent.',
  description: 'The same content gives the same version, answered with 200.',
  request: {
    params: z.strictObject({ name: AgentName }),
    body: { required: true, content: jsonOf('AgentSpec') },
  },
  responses: {
    200: answers('Agent', 'The version that has this content already.'),
    201: answers('Agent', 'The new version.'),
    ...PROBLEMS,
  },
});

/** Throws `quota_exceeded`, `state_unavailable`, `audit_store_unavailable`. */
const publish = async (
  deps: ApiDeps,
  principal: Principal,
  { tenantId, name, spec }: { readonly tenantId: string; readonly name: string; readonly spec: AgentSpec },
): Promise<Published> => {
  await ensureTenantWithCaps(deps.db, newTenant(deps, tenantId));
  const agent = { tenantId, name };
  const digest = specDigest(agent, spec);
  const sealed = { ...agent, digest, sealedSpec: sealSpec(deps.keyring, agent, spec) };
  return publishAgentVersion(deps.db, sealed, (version) =>
    recordFact(deps, byKey(principal), {
      type: 'agent.changed',
      data: { name, version, spec_digest: digest },
    }),
  );
};

export const putAgent: Route = (app, deps) => {
  app.openapi(
    route,
    async (c) => {
      const { body } = await readBody(c, AgentSpec);
      const spec = wellFormedDeep(body as Parameters<typeof wellFormedDeep>[0]) as AgentSpec;
      checkModels(deps.prices, spec, '');
      const principal = c.get('principal');
      const { tenantId } = principal;
      await checkOutputSchema(deps, spec, { tenantId, at: '' });
      const agent = { tenantId, name: c.req.valid('param').name };
      const published = await deps.storeShare.take(tenantId, 'publish', () =>
        publish(deps, principal, { ...agent, spec }),
      );
      // Without its mirror the version would not be what `name` means; who repeats the request makes it.
      const { version, sealedSpec } = published;
      await reachingState(() => mirrorAgent(deps.partition, { ...agent, version, sealedSpec }));
      return c.json(agentView(deps.keyring, published), published.created ? 201 : 200);
    },
    (result) => {
      if (!result.success) throw invalidFromZod(result.error);
      return undefined;
    },
  );
};

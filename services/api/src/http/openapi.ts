import { z } from '@hono/zod-openapi';
import {
  AgentSpec,
  API_SCOPES,
  Event,
  ForkRequest,
  JsonValue,
  Retention,
  RetentionRequest,
  ReplayReport,
  ReplaysRequest,
  Run,
  RunSubmission,
  Step,
} from '@signalbox/contracts';
import { VERSION } from '@signalbox/runtime';
import { AbortRequest } from '../runs/abort-flag.ts';
import { AbortedRuns, AbortRunsRequest } from '../runs/abort-runs.ts';
import { AuditEvent } from '../audit/audit-query.ts';
import { ExportLine } from '../audit/export-lines.ts';
import { TenantCapsRequest, TenantCapsView, UserCapsRequest, UserCapsView } from '../caps/caps-schemas.ts';
import { CostView } from '../caps/cost-view.ts';
import { AgentView } from '../agents/agent-view.ts';
import type { Api } from '../deps.ts';
import { KeyRequest, KeyView, NewKeyView } from '../keys/key-schemas.ts';
import { LegalHoldRequest, LegalHoldView } from '../runs/legal-hold.ts';
import { ProviderKeyRequest, ProviderView } from '../keys/provider-schemas.ts';
import { AutoscaleView } from '../runs/autoscale-view.ts';
import { ReplayJob } from '../replays/replay-schemas.ts';
import { Problem } from './problem.ts';
import { SCOPES } from './scopes.ts';
import { SubmittedRuns, SubmitRunsRequest } from '../submission/submit-batch.ts';
import { AuditVerdict, VerifyRequest } from '../audit/verify-schemas.ts';

/**
 * The OpenAPI 3.1 document: its schemas are made by zod itself from the very schemas that parse, as JSON
 * Schema 2020-12; routes name them by `$ref`.
 */

const listOf = <T extends z.ZodType>(item: T) =>
  z.object({ data: z.array(item), next_cursor: z.string().nullable() });

const COMPONENTS = {
  Json: JsonValue,
  Run,
  RunSubmission,
  SubmitRunsRequest,
  SubmittedRuns,
  RunList: listOf(Run),
  Event,
  EventList: z.object({ data: z.array(Event), next_after: z.int() }),
  Step,
  StepList: listOf(Step),
  ForkRequest,
  ReplayReport,
  ReplaysRequest,
  ReplayJob,
  AbortRequest,
  AbortRunsRequest,
  AbortedRuns,
  AgentSpec,
  Agent: AgentView,
  AgentList: listOf(AgentView),
  Provider: ProviderView,
  ProviderList: listOf(ProviderView),
  ProviderKeyRequest,
  TenantCaps: TenantCapsView,
  TenantCapsRequest,
  UserCaps: UserCapsView,
  UserCapsRequest,
  KeyRequest,
  Key: KeyView,
  NewKey: NewKeyView,
  KeyList: listOf(KeyView),
  LegalHoldRequest,
  LegalHold: LegalHoldView,
  RetentionRequest,
  Retention,
  CostList: listOf(CostView),
  AuditEventList: listOf(AuditEvent),
  ExportLine,
  VerifyRequest,
  AuditVerdict,
  Autoscale: AutoscaleView,
  Problem,
} as const;

export type ComponentName = keyof typeof COMPONENTS;

const refTo = (name: string): string => `#/components/schemas/${name}`;

/** Content of a body: a component by its name. */
export const jsonOf = (name: ComponentName, type = 'application/json') => ({
  [type]: { schema: { $ref: refTo(name) } },
});

interface Answer {
  readonly description: string;
}

/** An answer of a route. Typed without its content: what a handler sends is typed by who makes it. */
export const answers = (name: ComponentName, description: string): Answer =>
  ({ description, content: jsonOf(name) }) as Answer;

/** Every route may answer with a problem. */
export const PROBLEMS: { default: Answer } = {
  default: { description: 'A problem', content: jsonOf('Problem', 'application/problem+json') } as Answer,
};

/** A whole number in a query. */
export const queryInt = (min: number, max: number) =>
  z
    .string()
    .regex(/^\d{1,15}$/, `expected a whole number from ${min} to ${max}`)
    .transform(Number)
    .refine((value) => value >= min && value <= max, `expected a whole number from ${min} to ${max}`)
    .openapi({ type: 'integer', minimum: min, maximum: max });

const registerComponents = (app: Api): void => {
  const registry = z.registry<{ id: string }>();
  for (const [id, schema] of Object.entries(COMPONENTS)) registry.add(schema, { id });
  const { schemas } = z.toJSONSchema(registry, { io: 'input', uri: refTo });
  for (const [name, { $schema: _schema, $id: _id, ...schema }] of Object.entries(schemas)) {
    app.openAPIRegistry.registerComponent('schemas', name, schema as unknown as Record<string, never>);
  }
};

const INFO = {
  title: 'Signalbox',
  version: VERSION,
  description:
    'Queue-driven workers for governed AI agent runs. Text may hold any character; NUL and lone surrogates are stored as U+FFFD. A field named __proto__ is refused.',
};

/** `METHOD /v1/path/{id}` as the scopes table spells it. */
export const routeKey = (method: string, path: string): string =>
  `${method.toUpperCase()} ${path.replaceAll(/\{(\w+)\}/g, ':$1')}`;

interface Operation {
  description?: string;
  security?: object[];
}

const addScopes = (paths: Record<string, Record<string, Operation>>): void => {
  for (const [path, operations] of Object.entries(paths)) {
    for (const [method, operation] of Object.entries(operations)) {
      const scope = SCOPES[routeKey(method, path)];
      if (scope === undefined) continue;
      operation.security = [{ bearer: [scope].flat() }];
    }
  }
};

/** The document of all routes added so far. */
export const openApiDocument = (app: Api): object => {
  registerComponents(app);
  app.openAPIRegistry.registerComponent('securitySchemes', 'bearer', {
    type: 'http',
    scheme: 'bearer',
    description: `An API key; its scopes are among ${API_SCOPES.join(', ')}.`,
  });
  const document = app.getOpenAPI31Document({ openapi: '3.1.0', info: INFO });
  addScopes(document.paths as Record<string, Record<string, Operation>>);
  return document;
};

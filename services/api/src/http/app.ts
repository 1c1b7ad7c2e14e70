import { OpenAPIHono } from '@hono/zod-openapi';
import { SignalboxError } from '@signalbox/contracts';
import type { MiddlewareHandler } from 'hono';
import { methodNotAllowed } from 'hono/method-not-allowed';
import { requestId } from 'hono/request-id';
import { auth } from './auth.ts';
import { limitBody } from './body-limit.ts';
import type { Api, ApiDeps, ApiEnv, Route } from '../deps.ts';
import { type ApiDocument, docsPage } from './docs-page.ts';
import { observe } from './observe.ts';
import { openApiDocument } from './openapi.ts';
import { answerProblem } from './problem.ts';
import { abortRun } from '../routes/abort-run.ts';
import { abortRuns } from '../routes/abort-runs.ts';
import { autoscale } from '../routes/autoscale.ts';
import { forkRun } from '../routes/fork-run.ts';
import { eraseContent } from '../routes/erase-content.ts';
import { exportAudit } from '../routes/export-audit.ts';
import { getAgent } from '../routes/get-agent.ts';
import { getRun } from '../routes/get-run.ts';
import { health } from '../routes/health.ts';
import { keys } from '../routes/keys.ts';
import { legalHold } from '../routes/legal-hold.ts';
import { listAgents } from '../routes/list-agents.ts';
import { listAudit } from '../routes/list-audit.ts';
import { listCosts } from '../routes/list-costs.ts';
import { listRuns } from '../routes/list-runs.ts';
import { providers } from '../routes/providers.ts';
import { putAgent } from '../routes/put-agent.ts';
import { replayRun } from '../routes/replay-run.ts';
import { retention } from '../routes/retention.ts';
import { replays } from '../routes/replays.ts';
import { runEvents } from '../routes/run-events.ts';
import { runSteps } from '../routes/run-steps.ts';
import { submitRun } from '../routes/submit-run.ts';
import { submitRuns } from '../routes/submit-runs.ts';
import { tenantCaps } from '../routes/tenant-caps.ts';
import { userCaps } from '../routes/user-caps.ts';
import { verifyAudit } from '../routes/verify-audit.ts';
import { refuseUndeclared } from './refuse-undeclared.ts';
import { refuseUndecodable } from './refuse-undecodable.ts';
import { onParameters } from './validation.ts';

const MAX_BODY_BYTES = 1024 * 1024;

/** Of a body that is too large; far more than any honest one has. */
const MAX_DISCARDED_BYTES = 16 * MAX_BODY_BYTES;

/** Who is still sending would see a broken connection instead of the answer: take it, and throw it away. */
const discard = async (body: ReadableStream<Uint8Array> | null): Promise<void> => {
  if (body === null || body.locked) return;
  const reader = body.getReader();
  for (let taken = 0; taken < MAX_DISCARDED_BYTES; ) {
    const { done, value } = await reader.read();
    if (done) return;
    taken += value.length;
  }
};

/** Came on a connection that was kept: another process, or the one that follows, will serve it. */
const refuseWhenClosing =
  ({ closing }: ApiDeps): MiddlewareHandler<ApiEnv> =>
  async (c, next) => {
    if (!closing.aborted) return next();
    await discard(c.req.raw.body);
    throw new SignalboxError('shutting_down', 'This process is stopping. Nothing was changed; try again.', {
      retryAfter: 1,
    });
  };

const ROUTES: readonly Route[] = [
  submitRun,
  submitRuns,
  listRuns,
  getRun,
  runEvents,
  runSteps,
  replayRun,
  replays,
  forkRun,
  abortRun,
  abortRuns,
  eraseContent,
  legalHold,
  retention,
  putAgent,
  listAgents,
  getAgent,
  providers,
  tenantCaps,
  userCaps,
  keys,
  listCosts,
  listAudit,
  exportAudit,
  verifyAudit,
  autoscale,
  health,
];

const addErrors = (app: Api, { logger }: ApiDeps): void => {
  app.onError((error, c) => answerProblem(c, error, logger));
  app.notFound((c) =>
    answerProblem(c, new SignalboxError('not_found', `There is no ${c.req.method} ${c.req.path}.`), logger),
  );
  app.use(
    methodNotAllowed({
      app,
      onMethodNotAllowed: (c, methods) => {
        const allow = methods.join(', ');
        c.header('allow', allow);
        const error = new SignalboxError(
          'method_not_allowed',
          `${c.req.path} takes ${allow}, not ${c.req.method}.`,
        );
        return answerProblem(c, error, logger);
      },
    }),
  );
};

const addMiddleware = (app: Api, deps: ApiDeps): void => {
  app.use(requestId());
  app.use(observe(deps));
  addErrors(app, deps);
  app.use('/v1/*', refuseWhenClosing(deps));
  app.use('/v1/*', auth(deps));
  app.use(
    '/v1/*',
    limitBody(MAX_BODY_BYTES, async (c) => {
      await discard(c.req.raw.body);
      throw new SignalboxError('payload_too_large', `A body may have ${MAX_BODY_BYTES} bytes at most.`);
    }),
  );
  app.use('/v1/*', refuseUndecodable);
  app.use('/v1/*', refuseUndeclared(app));
};

const addDocs = (app: Api): void => {
  const document = openApiDocument(app);
  const json = JSON.stringify(document);
  const page = docsPage(document as ApiDocument);
  app.get('/openapi.json', (c) => c.body(json, 200, { 'content-type': 'application/json' }));
  app.get('/docs', (c) =>
    c.html(page, 200, { 'content-security-policy': "default-src 'none'; style-src 'unsafe-inline'" }),
  );
};

/** The whole HTTP interface; `request` answers without a server. */
export const createApp = (deps: ApiDeps): Api => {
  const app = new OpenAPIHono<ApiEnv>({ defaultHook: onParameters });
  addMiddleware(app, deps);
  for (const route of ROUTES) route(app, deps);
  addDocs(app);
  return app;
};

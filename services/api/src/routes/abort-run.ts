import { createRoute } from '@hono/zod-openapi';
import { type Principal, SignalboxError } from '@signalbox/contracts';
import { redactText } from '@signalbox/engine';
import { requestAbort } from '@signalbox/run-state';
import { wellFormed } from '@signalbox/runtime';
import { abortOwnerless } from '../abort-ownerless.ts';
import type { ApiDeps, Route } from '../deps.ts';
import { AbortRequest, answers, jsonOf, PROBLEMS } from '../openapi.ts';
import { viewOf } from '../run-view.ts';
import { readOptionalBody } from '../validation.ts';
import { RunParams } from './run-params.ts';

const route = createRoute({
  method: 'post',
  path: '/v1/runs/{id}/abort',
  tags: ['runs'],
  summary: 'Stops a run, whatever it is doing.',
  description: 'A repeated abort answers like the first. A run that has ended answers 409 run_terminal.',
  request: { params: RunParams, body: { required: false, content: jsonOf('AbortRequest') } },
  responses: { 202: answers('Run', 'The run, with its abort.'), ...PROBLEMS },
});

interface Wish {
  readonly runId: string;
  readonly principal: Principal;
  readonly reason: string | null;
}

const raiseFlag = async (deps: ApiDeps, { runId, principal, reason }: Wish): Promise<void> => {
  const { tenantId, keyId } = principal;
  const flag = { requested_at: new Date(deps.clock.now()).toISOString(), by: keyId, reason };
  try {
    await requestAbort(deps.partition, { runId, tenantId, flag });
  } catch (error) {
    if (!(error instanceof SignalboxError && error.code === 'not_found')) throw error;
    // What left run state has ended.
    await deps.runs.find(tenantId, runId);
    throw new SignalboxError('run_terminal', `Run ${runId} has already ended; there is nothing to abort.`);
  }
};

export const abortRun: Route = (app, deps) => {
  app.openapi(route, async (c) => {
    const principal = c.get('principal');
    const runId = c.req.valid('param').id;
    const { reason } = await readOptionalBody(c, AbortRequest);
    // The reason goes into the journal in clear, so secrets in it do not (R13).
    const clean = reason === null || reason === undefined ? null : redactText(wellFormed(reason));
    await raiseFlag(deps, { runId, principal, reason: clean });
    await abortOwnerless(deps, runId).catch((error: unknown) =>
      // The flag stands: whoever owns the run next writes its end.
      deps.logger.warn('abort left to the next owner', { run_id: runId, error }),
    );
    return c.json(viewOf(deps, await deps.runs.find(principal.tenantId, runId)), 202);
  });
};

import { createRoute } from '@hono/zod-openapi';
import { SignalboxError } from '@signalbox/contracts';
import { type AbortFlag, requestAbort } from '@signalbox/run-state';
import { abortFlag, AbortRequest } from '../runs/abort-flag.ts';
import type { ApiDeps, Route } from '../deps.ts';
import { endOwnerless } from '../runs/end-ownerless.ts';
import { isEnd, lastTypeOf } from '../runs/entries.ts';
import { foldRun } from '../runs/fold-run.ts';
import { answers, jsonOf, PROBLEMS } from '../http/openapi.ts';
import { readOptionalBody } from '../http/validation.ts';
import { RunParams } from './run-params.ts';

const route = createRoute({
  method: 'post',
  path: '/v1/runs/{id}/abort',
  tags: ['runs'],
  summary: 'Stops a run, whatever it is doing.',
  description:
    'A repeated abort answers like the first. A run that has ended answers 409 run_terminal. Once the run has ended, abort tells when that was, what the abort caught, whether it closed an open call, and what that call was charged.',
  request: { params: RunParams, body: { required: false, content: jsonOf('AbortRequest') } },
  responses: { 202: answers('Run', 'The run, with its abort.'), ...PROBLEMS },
});

interface Wish {
  readonly runId: string;
  readonly tenantId: string;
  readonly flag: AbortFlag;
}

const NOT_HERE_SECONDS = 30;

const notHere = (runId: string): SignalboxError =>
  new SignalboxError(
    'state_untrusted',
    `Run ${runId} has not ended, but run state lost it and has not put it back yet, so it could not be stopped. Repeat the abort.`,
    { retryAfter: NOT_HERE_SECONDS },
  );

const raiseFlag = async (deps: ApiDeps, { runId, tenantId, flag }: Wish): Promise<void> => {
  try {
    await requestAbort(deps.partition, { runId, tenantId, flag });
  } catch (error) {
    if (!(error instanceof SignalboxError && error.code === 'not_found')) throw error;
    // What left run state has ended; what a verification lost track of has not.
    const run = await deps.runs.find(tenantId, runId, 'none');
    if (!isEnd(lastTypeOf(run.entries))) {
      // With a gap nobody knows.
      foldRun(run);
      throw notHere(runId);
    }
    throw new SignalboxError('run_terminal', `Run ${runId} has already ended; there is nothing to abort.`);
  }
};

/** Redis came back without its last writes between the flag and now: what is not there must not be promised. */
const flagLost = (runId: string): SignalboxError =>
  new SignalboxError('state_unavailable', `The abort of run ${runId} was lost with Redis; repeat it.`, {
    retryAfter: 1,
  });

export const abortRun: Route = (app, deps) => {
  app.openapi(route, async (c) => {
    const principal = c.get('principal');
    const runId = c.req.valid('param').id;
    const { reason } = await readOptionalBody(c, AbortRequest);
    const { tenantId } = principal;
    await raiseFlag(deps, { runId, tenantId, flag: abortFlag(deps, principal, reason) });
    await endOwnerless(deps, runId);
    const { view: run } = await deps.views.show(tenantId, runId);
    if (run.abort === null) throw flagLost(runId);
    return c.json(run, 202);
  });
};

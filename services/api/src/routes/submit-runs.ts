import { createRoute } from '@hono/zod-openapi';
import type { Route } from '../deps.ts';
import { answers, jsonOf, PROBLEMS } from '../http/openapi.ts';
import { reportError, toProblem } from '../http/problem.ts';
import { MAX_BATCH, submitBatch, SubmitRunsBody } from '../submission/submit-batch.ts';
import { idempotencyKey, TAKES_IDEMPOTENCY_KEY, traceparent } from '../submission/submit-headers.ts';
import { readBody } from '../http/validation.ts';

/** A run of a batch takes far less of the api than one that comes by itself. */
const RUNS_PER_REQUEST = 10;

const route = createRoute({
  method: 'post',
  path: '/v1/runs/batch',
  tags: ['runs'],
  summary: 'Submits many runs.',
  description: `1 to ${MAX_BATCH.toLocaleString('en')} runs, in a body of at most 1 MiB. Each is judged alone: data holds, in order, a run or the problem that refused it (paths of its errors begin at the element). With Idempotency-Key each element is kept under the key and its index, apart from the keys of POST /v1/runs: the same batch again gives the same runs, and an element that changed is refused with idempotency_mismatch. For the rate limit each ten runs count as a request. When no element could be served for now, the whole answer is that problem (503).`,
  parameters: TAKES_IDEMPOTENCY_KEY,
  request: { body: { required: true, content: jsonOf('SubmitRunsRequest') } },
  responses: { 202: answers('SubmittedRuns', 'What became of each element.'), ...PROBLEMS },
});

export const submitRuns: Route = (app, deps) => {
  app.openapi(route, async (c) => {
    const key = idempotencyKey(c);
    const { body } = await readBody(c, SubmitRunsBody);
    const principal = c.get('principal');
    await deps.rateLimit.takeMore(principal, Math.ceil(body.runs.length / RUNS_PER_REQUEST) - 1);
    const fates = await submitBatch(deps, {
      principal,
      runs: body.runs,
      idempotencyKey: key,
      traceparent: traceparent(c),
    });
    const data = fates.map((fate, index) =>
      'run' in fate
        ? { index, run: fate.run }
        : { index, problem: toProblem(reportError(c, fate.refused, deps.logger)) },
    );
    return c.json({ data }, 202);
  });
};

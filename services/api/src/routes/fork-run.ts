import { createRoute } from '@hono/zod-openapi';
import { ForkRequest } from '@signalbox/contracts';
import { noteContentRead } from '../runs/content-read.ts';
import type { Route } from '../deps.ts';
import { forkRun as fork } from '../submission/fork.ts';
import { answers, jsonOf, PROBLEMS } from '../http/openapi.ts';
import { idempotencyKey, TAKES_IDEMPOTENCY_KEY, traceparent } from '../submission/submit-headers.ts';
import { readBody } from '../http/validation.ts';
import { RunParams } from './run-params.ts';

const route = createRoute({
  method: 'post',
  path: '/v1/runs/{id}/fork',
  tags: ['runs'],
  summary: 'Makes a new run from the first steps of another one.',
  description: [
    'The steps before from_step are taken from the journal and not paid again; from there on the new run goes on by itself, with the changes.',
    'from_step is 1 to one more than the steps of the run; every step before it must have its result. In the middle of the tool calls of an answer, the answer and the calls before from_step are taken over, and the others are made.',
    'changes.tool_output replaces what a tool gave back: {step, output} names a tool step at or before from_step that no taken over model call was asked with; any other value is the output of step from_step, which then is not called.',
    'changes.input needs from_step 1. Limits may be what the agent allows; what is not named stays as it was. User, session, metadata and priority are those of the run.',
    'Of the new run, steps counts those taken over too; usage and cost are what it used and paid itself.',
    'Idempotency-Key works as for POST /v1/runs. Needs the scopes runs:write and content:read. Answers 410 content_erased when contents of the run were erased.',
  ].join(' '),
  parameters: TAKES_IDEMPOTENCY_KEY,
  request: { params: RunParams, body: { required: true, content: jsonOf('ForkRequest') } },
  responses: {
    200: answers('Run', 'The run this Idempotency-Key made before.'),
    202: answers('Run', 'The new run, with forked_from; Location names it.'),
    ...PROBLEMS,
  },
});

export const forkRun: Route = (app, deps) => {
  app.openapi(route, async (c) => {
    const principal = c.get('principal');
    const key = idempotencyKey(c);
    const { id } = c.req.valid('param');
    const { raw, body } = await readBody(c, ForkRequest);
    const origin = await deps.runs.find(principal.tenantId, id, 'all');
    await noteContentRead(deps, principal, { runId: id, by: 'fork' });
    const { run, created } = await fork(deps, {
      principal,
      origin,
      request: body,
      idempotent: key === null ? null : { name: `POST /v1/runs/${id}/fork ${key}`, body: raw },
      traceparent: traceparent(c),
    });
    c.header('location', `/v1/runs/${run.id}`);
    if (!created) c.header('idempotent-replayed', 'true');
    return c.json(run, created ? 202 : 200);
  });
};

import { createRoute } from '@hono/zod-openapi';
import { RunSubmission } from '@signalbox/contracts';
import type { Route } from '../deps.ts';
import { answers, jsonOf, PROBLEMS } from '../http/openapi.ts';
import { submit } from '../submission/submit.ts';
import { idempotencyKey, TAKES_IDEMPOTENCY_KEY, traceparent } from '../submission/submit-headers.ts';
import { readBody } from '../http/validation.ts';

const route = createRoute({
  method: 'post',
  path: '/v1/runs',
  tags: ['runs'],
  summary: 'Submits a run.',
  description:
    'With Idempotency-Key (1 to 255 visible ASCII characters, kept 24 h), the same key and body give the same run, answered with 200 and Idempotent-Replayed: true.',
  parameters: TAKES_IDEMPOTENCY_KEY,
  request: { body: { required: true, content: jsonOf('RunSubmission') } },
  responses: {
    200: answers('Run', 'The run this Idempotency-Key made before.'),
    202: answers('Run', 'The new run; Location names it.'),
    ...PROBLEMS,
  },
});

export const submitRun: Route = (app, deps) => {
  app.openapi(route, async (c) => {
    const key = idempotencyKey(c);
    const { raw, body } = await readBody(c, RunSubmission);
    const { run, created } = await submit(deps, {
      principal: c.get('principal'),
      submission: body,
      idempotent: key === null ? null : { name: `POST /v1/runs ${key}`, body: raw },
      traceparent: traceparent(c),
    });
    c.header('location', `/v1/runs/${run.id}`);
    if (!created) c.header('idempotent-replayed', 'true');
    return c.json(run, created ? 202 : 200);
  });
};

import { createRoute } from '@hono/zod-openapi';
import { RunSubmission } from '@signalbox/contracts';
import { sha256Hex } from '@signalbox/runtime';
import { canonicalJson } from '../canonical-json.ts';
import type { ApiContext, Route } from '../deps.ts';
import { answers, jsonOf, PROBLEMS } from '../openapi.ts';
import { submit } from '../submit.ts';
import { invalidRequest, readBody } from '../validation.ts';

const route = createRoute({
  method: 'post',
  path: '/v1/runs',
  tags: ['runs'],
  summary: 'Submits a run.',
  description:
    'With Idempotency-Key (1 to 255 visible ASCII characters, kept 24 h), the same key and body give the same run, answered with 200 and Idempotent-Replayed: true.',
  request: { body: { required: true, content: jsonOf('RunSubmission') } },
  responses: {
    200: answers('Run', 'The run this Idempotency-Key made before.'),
    202: answers('Run', 'The new run; Location names it.'),
    ...PROBLEMS,
  },
});

const IDEMPOTENCY_KEY = /^[\x21-\x7e]{1,255}$/;
const TRACEPARENT = /^00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}$/;

const idempotencyKey = (c: ApiContext): string | null => {
  const key = c.req.header('idempotency-key');
  if (key === undefined) return null;
  if (IDEMPOTENCY_KEY.test(key)) return key;
  throw invalidRequest([{ path: 'Idempotency-Key', message: 'expected 1 to 255 visible ASCII characters' }]);
};

const traceparent = (c: ApiContext): string | null => {
  const header = c.req.header('traceparent');
  return header !== undefined && TRACEPARENT.test(header) ? header : null;
};

export const submitRun: Route = (app, deps) => {
  app.openapi(route, async (c) => {
    const key = idempotencyKey(c);
    const { raw, body } = await readBody(c, RunSubmission);
    const { run, created } = await submit(deps, {
      principal: c.get('principal'),
      submission: body,
      idempotency: key === null ? null : { key, fingerprint: sha256Hex(canonicalJson(raw)) },
      traceparent: traceparent(c),
    });
    c.header('location', `/v1/runs/${run.id}`);
    if (!created) c.header('idempotent-replayed', 'true');
    return c.json(run, created ? 202 : 200);
  });
};

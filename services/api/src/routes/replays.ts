import { createRoute, z } from '@hono/zod-openapi';
import { ReplayId, ReplaysRequest } from '@signalbox/contracts';
import type { Route } from '../deps.ts';
import { answers, jsonOf, PROBLEMS } from '../http/openapi.ts';
import { abortReplayJob, findReplayJob, startReplayJob } from '../replays/replay-jobs.ts';
import { MAX_FORKS } from '../replays/replay-fork.ts';
import { idempotencyKey, TAKES_IDEMPOTENCY_KEY } from '../submission/submit-headers.ts';
import { readBody } from '../http/validation.ts';

const params = z.strictObject({ id: ReplayId });

const start = createRoute({
  method: 'post',
  path: '/v1/replays',
  tags: ['replays'],
  summary: 'Replays many stored runs, as a job.',
  description: [
    'Runs that fit the filter and have ended go through the engine as it is today, newest first; of each the first divergence is named. compare: requests compares everything; decisions only which models and tools are called and how the run ends.',
    'changes (model, instructions, limits) are tried on every run: its recorded answers are used up to the first place where they do not fit any more.',
    'With mode offline (the default) nothing is called and nothing is paid. With mode paid, each run that diverges goes on from there as a fork: with real calls, of tools too, under the caps of the tenant and the user. The cap of a fork is changes.limits.cost_usd, else that of its run; forks are made while their caps add up to max_cost_usd at most,',
    `and ${MAX_FORKS.toLocaleString('en')} at most.`,
    'A job ends, as failed, once the API key that started it is revoked or has expired.',
    'Idempotency-Key: the same key and body give the same job. Needs the scopes runs:write and content:read.',
  ].join(' '),
  parameters: TAKES_IDEMPOTENCY_KEY,
  request: { body: { required: true, content: jsonOf('ReplaysRequest') } },
  responses: {
    200: answers('ReplayJob', 'The job this Idempotency-Key made before.'),
    202: answers('ReplayJob', 'The new job; Location names it.'),
    ...PROBLEMS,
  },
});

const get = createRoute({
  method: 'get',
  path: '/v1/replays/{id}',
  tags: ['replays'],
  summary: 'How far a job is, and what it found.',
  description:
    'Divergences name digests, models, tools and steps, never what was said. done, failed and aborted are final.',
  request: { params },
  responses: { 200: answers('ReplayJob', 'The job.'), ...PROBLEMS },
});

const abort = createRoute({
  method: 'post',
  path: '/v1/replays/{id}/abort',
  tags: ['replays'],
  summary: 'Stops a job.',
  description:
    'Of what is under way, one fork may still be made. Forks that are there go on; abort them as runs. A job that has ended stays as it is.',
  request: { params },
  responses: { 202: answers('ReplayJob', 'The job.'), ...PROBLEMS },
});

export const replays: Route = (app, deps) => {
  app.openapi(start, async (c) => {
    const key = idempotencyKey(c);
    const { raw, body } = await readBody(c, ReplaysRequest);
    const { job, created } = await startReplayJob(deps, {
      principal: c.get('principal'),
      request: body,
      idempotent: key === null ? null : { name: `POST /v1/replays ${key}`, body: raw },
    });
    c.header('location', `/v1/replays/${job.id}`);
    if (!created) c.header('idempotent-replayed', 'true');
    return c.json(job, created ? 202 : 200);
  });
  app.openapi(get, async (c) =>
    c.json(await findReplayJob(deps, c.get('principal').tenantId, c.req.valid('param').id), 200),
  );
  app.openapi(abort, async (c) =>
    c.json(await abortReplayJob(deps, c.get('principal'), c.req.valid('param').id), 202),
  );
};

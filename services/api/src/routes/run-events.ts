import { createRoute, z } from '@hono/zod-openapi';
import { parseAccept } from 'hono/utils/accept';
import { eventJson, lastSeqOf } from '../runs/entries.ts';
import type { ApiContext, ApiDeps, Route } from '../deps.ts';
import { readsHeader } from '../http/header-parameter.ts';
import { answers, PROBLEMS, queryInt } from '../http/openapi.ts';
import { invalidRequest } from '../http/validation.ts';
import { streamRunEvents } from './run-events-stream.ts';
import { RunParams } from './run-params.ts';

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;
const MAX_SEQ = 1_000_000_000;
const SEQ = /^\d{1,9}$/;
const STREAM = 'text/event-stream';
const JSON_TYPE = 'application/json';

const page = answers(
  'EventList',
  'A page of events, or with Accept: text/event-stream all of them as they come.',
);

const route = createRoute({
  method: 'get',
  path: '/v1/runs/{id}/events',
  tags: ['runs'],
  summary: 'The journal of a run.',
  description:
    'As a stream: id is the seq, event the type, data the event; resumes behind Last-Event-ID (else behind after). event: delta, without id, is text as it is generated, for keys with content:read. event: end comes after the last event.',
  parameters: readsHeader('Last-Event-ID', {
    pattern: SEQ,
    description: 'Of a stream: the last id that arrived. Counts before after.',
  }),
  request: {
    params: RunParams,
    query: z.strictObject({
      after: queryInt(0, MAX_SEQ).optional(),
      limit: queryInt(1, MAX_LIMIT).optional(),
    }),
  },
  responses: {
    200: {
      ...page,
      content: { ...('content' in page ? (page.content as object) : {}), [STREAM]: {} },
    },
    ...PROBLEMS,
  },
});

const lastEventId = (c: ApiContext): number | null => {
  const id = c.req.header('last-event-id');
  // Sent empty by who had no event yet.
  if (id === undefined || id === '') return null;
  if (SEQ.test(id)) return Number(id);
  throw invalidRequest([{ path: 'Last-Event-ID', message: 'expected the id of an event of this run' }]);
};

/** Who names both alike wants the stream: JSON is what all get who do not name it. */
const wantsStream = (c: ApiContext): boolean => {
  const accepted = parseAccept(c.req.header('accept') ?? '');
  const weightOf = (name: string): number => accepted.find(({ type }) => type.toLowerCase() === name)?.q ?? 0;
  return weightOf(STREAM) > 0 && weightOf(STREAM) >= weightOf(JSON_TYPE);
};

interface PageQuery {
  readonly runId: string;
  readonly after: number;
  readonly limit: number;
}

/** The events as the very text that was hashed. */
const eventsPage = async (c: ApiContext, deps: ApiDeps, query: PageQuery): Promise<Response> => {
  const entries = await deps.runs.entries(c.get('principal').tenantId, query);
  const nextAfter = Math.max(query.after, lastSeqOf(entries));
  const body = `{"data":[${entries.map(eventJson).join(',')}],"next_after":${nextAfter}}`;
  return c.body(body, 200, { 'content-type': JSON_TYPE });
};

export const runEvents: Route = (app, deps) => {
  app.openapi(route, async (c) => {
    const { after = 0, limit = DEFAULT_LIMIT } = c.req.valid('query');
    const runId = c.req.valid('param').id;
    if (!wantsStream(c)) return eventsPage(c, deps, { runId, after, limit });
    return streamRunEvents(c, deps, { runId, after: lastEventId(c) ?? after });
  });
};

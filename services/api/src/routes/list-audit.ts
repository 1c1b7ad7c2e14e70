import { createRoute, z } from '@hono/zod-openapi';
import { listAuditEvents } from '@signalbox/audit-store';
import { AuditFilters, filterOf, readCursor, textOf, viewOf } from '../audit/audit-query.ts';
import { nextCursor } from '../http/cursor.ts';
import type { Route } from '../deps.ts';
import { answers, PROBLEMS, queryInt } from '../http/openapi.ts';

const DEFAULT_LIMIT = 100;
const MAX_LIMIT = 1000;

const route = createRoute({
  method: 'get',
  path: '/v1/audit',
  tags: ['audit'],
  summary: 'The audit log: events of all runs, and of keys, caps, agents and access.',
  description: [
    'Newest first; with run_id in the order of that run. A page may be short, and one that looks for category, actor or type, or with run_id for a time, empty, before the last one: go on until next_cursor is null. Read from the audit store: an event appears here moments after it happened. Secrets and personal data are redacted; hash and prev are of the event as it was written.',
    'Administration events have category admin and the run_id admin_ followed by the tenant. actor is the id of who acted: an API key, a worker, a user. from is included, to is not.',
    'Categories, with an example each: run (run.submitted), llm (llm.requested), tool (tool.completed), cost (cost.denied), abort (run.aborted), approval (approval.decided), guardrail (guardrail.tripped), handoff (handoff), child (child.spawned), admin (key.revoked).',
    'Types of category admin: key.created, key.revoked, key.used (the first use in an hour), auth.refused (counted per minute and source), caps.changed (before and after), agent.changed, content.read (who read what was said in a run), audit.exported, chain.verified, content.erased, provider_key.changed, provider_key.pinged, retention.changed, legal_hold.changed, checkpoint.written, runs.aborted (by filter), replay.started, replay.aborted.',
  ].join(' '),
  request: {
    query: z.strictObject({
      ...AuditFilters,
      limit: queryInt(1, MAX_LIMIT).optional(),
      cursor: z.string().max(1000).optional(),
    }),
  },
  responses: { 200: answers('AuditEventList', 'A page of events.'), ...PROBLEMS },
});

export const listAudit: Route = (app, deps) => {
  app.openapi(route, async (c) => {
    const { tenantId } = c.get('principal');
    const { limit = DEFAULT_LIMIT, cursor, ...wanted } = c.req.valid('query');
    const query = {
      ...filterOf(tenantId, wanted),
      limit,
      after: cursor === undefined ? undefined : readCursor(cursor, wanted.run_id),
    };
    const { rows, next } = await deps.storeShare.take(tenantId, 'list', () =>
      listAuditEvents(deps.db, query),
    );
    const redactor = deps.redactorOf(tenantId);
    const data = rows.map((row) => viewOf(redactor, row));
    return c.json({ data, next_cursor: nextCursor(next, textOf) }, 200);
  });
};

import { createRoute, z } from '@hono/zod-openapi';
import { exportAuditEvents } from '@signalbox/audit-store';
import { isAdminChain } from '@signalbox/contracts';
import { byKey, recordFact } from '../admin-trail.ts';
import { AuditPeriod, filterOf } from '../audit-query.ts';
import type { Route } from '../deps.ts';
import { jsonOf, PROBLEMS } from '../openapi.ts';

const NDJSON = 'application/x-ndjson';

const route = createRoute({
  method: 'get',
  path: '/v1/audit/export',
  tags: ['audit'],
  summary: 'The audit log as lines of JSON, to be kept and verified elsewhere.',
  description: [
    'One line per event, {chain, run_id, seq, hash, body}: body is the exact text whose SHA-256 is hash, and holds prev, the hash of the event before. chain is admin or run. body is null for an event that lies in quarantine.',
    'First the administration chain, then each run; every chain in its order, whole unless from or to cut it. The last line is {"end": true, "lines": n}: without it the export was cut off. Bodies hold no secrets; they are not redacted further, since they would no longer fit their hash. Each export is written into the audit log.',
  ].join(' '),
  request: { query: z.strictObject(AuditPeriod) },
  responses: {
    200: { description: 'All events, as they are read.', content: jsonOf('ExportedEvent', NDJSON) } as {
      description: string;
    },
    ...PROBLEMS,
  },
});

type Pages = ReturnType<typeof exportAuditEvents>;

/** Lines of a page at once: as many as one read of the store gave. Ends without its last line when `stopping`. */
async function* linesOf(pages: Pages, stopping: AbortSignal): AsyncGenerator<Uint8Array> {
  const encoder = new TextEncoder();
  let lines = 0;
  for await (const page of pages) {
    stopping.throwIfAborted();
    lines += page.length;
    const texts = page.map((event) => {
      const chain = isAdminChain(event.run_id) ? 'admin' : 'run';
      return `${JSON.stringify({ chain, ...event })}\n`;
    });
    yield encoder.encode(texts.join(''));
  }
  yield encoder.encode(`${JSON.stringify({ end: true, lines })}\n`);
}

export const exportAudit: Route = (app, deps) => {
  app.openapi(route, async (c) => {
    const principal = c.get('principal');
    const { run_id = null, from = null, to = null } = c.req.valid('query');
    const filter = filterOf(principal.tenantId, c.req.valid('query'));
    const pages = exportAuditEvents(deps.db, filter);
    // What the store refuses is still a problem and no broken answer.
    const first = await pages.next();
    await recordFact(deps, byKey(principal), { type: 'audit.exported', data: { run_id, from, to } });
    const all = (async function* (): Pages {
      if (first.done !== true) yield first.value;
      yield* pages;
    })();
    // A client that goes away cancels the stream, and with it the reading.
    const body = ReadableStream.from(linesOf(all, deps.closing));
    return c.body(body as ReadableStream, 200, { 'content-type': NDJSON, 'cache-control': 'no-store' });
  });
};

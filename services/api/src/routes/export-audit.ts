import { createRoute, z } from '@hono/zod-openapi';
import { exportAuditEvents, type ExportedEvent, readCheckpointHead } from '@signalbox/audit-store';
import { byKey, recordFact } from '../audit/admin-trail.ts';
import { AuditPeriod, filterOf } from '../audit/audit-query.ts';
import { endLine, eventLines } from '../audit/export-lines.ts';
import type { ApiDeps, Route } from '../deps.ts';
import { watchKey } from '../keys/key-watch.ts';
import { jsonOf, PROBLEMS } from '../http/openapi.ts';

const NDJSON = 'application/x-ndjson';

const route = createRoute({
  method: 'get',
  path: '/v1/audit/export',
  tags: ['audit'],
  summary: 'The audit log as lines of JSON, to be kept and verified elsewhere.',
  description: [
    'One line per event, {chain, run_id, seq, hash, body}: body is the exact text whose SHA-256 is hash, and holds prev, the hash of the event before. chain is admin or run. body is null for an event that lies in quarantine.',
    'First the administration chain, then each run; every chain in its order, whole unless from or to cut it. The last line is {"end": true, "lines": n, "checkpoint": c}, c being the last checkpoint that stood when the export began (0: none): without it the export was cut off, as it is within 15 s of the end of its key. Bodies hold no secrets; they are not redacted further, since they would no longer fit their hash. Each export is written into the audit log.',
  ].join(' '),
  request: { query: z.strictObject(AuditPeriod) },
  responses: {
    200: {
      description: 'All events, as they are read, and a last line.',
      content: jsonOf('ExportLine', NDJSON),
    } as {
      description: string;
    },
    ...PROBLEMS,
  },
});

type Page = IteratorResult<readonly ExportedEvent[], unknown>;
type Next = () => Promise<Page>;

interface Begun {
  /** The last one before the first page was read: all it holds is in the export. */
  readonly checkpoint: number;
  readonly first: Page;
}

const encoder = new TextEncoder();

/**
 * Lines of a page at once: as many as one read of the store gave. It may go on for hours: it breaks off, without its
 * last line, once this process stops or the key is refused.
 */
async function* linesOf(
  { clock, closing }: ApiDeps,
  { begun: { checkpoint, first }, next }: { readonly begun: Begun; readonly next: Next },
  checkKey: () => Promise<unknown>,
): AsyncGenerator<Uint8Array> {
  const over = new AbortController();
  const stopping = AbortSignal.any([closing, over.signal]);
  void watchKey(clock, checkKey, { over: stopping, onRefused: () => over.abort() });
  try {
    let lines = 0;
    for (let page = first; page.done !== true; page = await next()) {
      stopping.throwIfAborted();
      lines += page.value.length;
      yield encoder.encode(eventLines(page.value));
    }
    yield encoder.encode(endLine({ lines, checkpoint }));
  } finally {
    over.abort();
  }
}

export const exportAudit: Route = (app, deps) => {
  app.openapi(route, async (c) => {
    const principal = c.get('principal');
    const { run_id = null, from = null, to = null } = c.req.valid('query');
    const filter = filterOf(principal.tenantId, c.req.valid('query'));
    const pages = exportAuditEvents(deps.db, filter);
    // What the store refuses is still a problem and no broken answer.
    const begun = await deps.storeShare.take(filter.tenantId, 'export', async (): Promise<Begun> => {
      const checkpoint = await readCheckpointHead(deps.db, filter.tenantId);
      return { checkpoint, first: await pages.next() };
    });
    await recordFact(deps, byKey(principal), { type: 'audit.exported', data: { run_id, from, to } });
    const next: Next = () =>
      deps.storeShare.take(filter.tenantId, 'export', () => pages.next(), { begun: true });
    // A client that goes away cancels the stream, and with it the reading.
    const body = ReadableStream.from(linesOf(deps, { begun, next }, c.get('checkKey')));
    return c.body(body as ReadableStream, 200, { 'content-type': NDJSON, 'cache-control': 'no-store' });
  });
};

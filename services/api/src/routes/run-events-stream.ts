import { hasScope } from '@signalbox/contracts';
import { type SSEStreamingApi, streamSSE } from 'hono/streaming';
import type { ApiContext, ApiDeps } from '../deps.ts';
import { type FeedItem, followRun } from '../run-feed.ts';

/** How long a client waits before it comes back after a cut. */
const RETRY_MS = 2000;
/** When this process stops all clients are cut at once; they should not come back at once. */
const LEAST_RETRY_MS = 500;
const RETRY_SPREAD_MS = 4500;

const frameOf = (item: FeedItem, runId: string): string => {
  switch (item.type) {
    case 'event':
      return `id: ${item.seq}\nevent: ${item.name}\ndata: ${item.json}\n\n`;
    case 'delta':
      return `event: delta\ndata: ${JSON.stringify({ step: item.step, text: item.text })}\n\n`;
    case 'end':
      return `event: end\ndata: ${JSON.stringify({ run_id: runId, status: item.name.replace('run.', '') })}\n\n`;
    case 'idle':
      return ': keep-alive\n\n';
  }
};

interface StreamRequest {
  readonly runId: string;
  readonly after: number;
}

/** A run's events as server-sent events. Throws `not_found` before the stream begins. */
export const streamRunEvents = async (
  c: ApiContext,
  deps: ApiDeps,
  { runId, after }: StreamRequest,
): Promise<Response> => {
  const principal = c.get('principal');
  const run = await deps.runs.find(principal.tenantId, runId);
  const gone = new AbortController();
  const stop = (): void => gone.abort();

  // Each write waits until the client took the one before.
  const send = async (stream: SSEStreamingApi): Promise<void> => {
    stream.onAbort(stop);
    deps.stopping.addEventListener('abort', stop, { once: true });
    const withDeltas = hasScope(principal, 'content:read');
    try {
      await stream.write(`retry: ${RETRY_MS}\n\n`);
      for await (const item of followRun(deps, { run, after, withDeltas, signal: gone.signal })) {
        await stream.write(frameOf(item, runId));
        if (stream.aborted) return;
      }
      if (deps.stopping.aborted) {
        await stream.write(`retry: ${LEAST_RETRY_MS + Math.round(Math.random() * RETRY_SPREAD_MS)}\n\n`);
      }
    } catch (error) {
      // The answer has begun, so the client only sees the cut, and comes back.
      deps.logger.error('event stream broke', { run_id: runId, request_id: c.get('requestId'), error });
    } finally {
      deps.stopping.removeEventListener('abort', stop);
    }
  };

  const response = streamSSE(c, send);
  response.headers.set('cache-control', 'no-store');
  response.headers.set('x-accel-buffering', 'no');
  return response;
};

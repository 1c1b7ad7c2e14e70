import { hasScope, SignalboxError } from '@signalbox/contracts';
import { noteContentRead } from '../runs/content-read.ts';
import type { ApiContext, ApiDeps } from '../deps.ts';
import { watchKey } from '../keys/key-watch.ts';
import { isEnd, lastTypeOf } from '../runs/entries.ts';
import { openRunKey } from '../runs/run-contents.ts';
import { type FeedItem, type FeedRequest, followRun } from '../runs/run-feed.ts';
import type { ReadableRun } from '../runs/run-reader.ts';

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

interface Following extends StreamRequest {
  readonly run: ReadableRun;
  readonly runKey: FeedRequest['runKey'];
  readonly requestId: string;
  readonly checkKey: () => Promise<unknown>;
  /** Aborted when nobody reads any more. */
  readonly gone: AbortSignal;
}

async function* textOf(deps: ApiDeps, following: Following): AsyncGenerator<string> {
  const { run, runId, after, runKey, requestId, checkKey, gone } = following;
  const over = new AbortController();
  const signal = AbortSignal.any([gone, deps.closing, over.signal]);
  void watchKey(deps.clock, checkKey, { over: signal, onRefused: () => over.abort() });
  // Here, since nobody may ever read what was answered.
  const close = deps.openAnswers.open(run.tenantId);
  try {
    yield `retry: ${RETRY_MS}\n\n`;
    for await (const item of followRun(deps, { run, after, runKey, signal })) yield frameOf(item, runId);
    if (deps.closing.aborted) {
      yield `retry: ${LEAST_RETRY_MS + Math.round(Math.random() * RETRY_SPREAD_MS)}\n\n`;
    }
  } catch (error) {
    // The answer has begun, so the client only sees the cut, and comes back.
    deps.logger.error('event stream broke', { run_id: runId, request_id: requestId, error });
  } finally {
    close();
    over.abort();
  }
}

const encoder = new TextEncoder();

/** Each text is made when the client took the one before. `onCancel` when it goes away. */
const streamOf = (texts: AsyncGenerator<string>, onCancel: () => void): ReadableStream<Uint8Array> =>
  new ReadableStream(
    {
      pull: async (controller) => {
        const { done, value } = await texts.next();
        if (done === true) controller.close();
        else controller.enqueue(encoder.encode(value));
      },
      cancel: async () => {
        onCancel();
        await texts.return(undefined);
      },
    },
    { highWaterMark: 0 },
  );

/** What opens the deltas that are still to come; null: none are, or they cannot be opened. */
const deltaKey = ({ keyring, logger }: ApiDeps, run: ReadableRun): FeedRequest['runKey'] => {
  if (isEnd(lastTypeOf(run.entries))) return null;
  try {
    return openRunKey(keyring, run);
  } catch (error) {
    if (error instanceof SignalboxError && error.retryable) throw error;
    logger.warn('a stream goes without deltas', { run_id: run.runId, error });
    return null;
  }
};

/**
 * A run's events as server-sent events. Throws `rate_limited`, `not_found`, `encryption_key_missing` before the stream
 * begins.
 */
export const streamRunEvents = async (
  c: ApiContext,
  deps: ApiDeps,
  { runId, after }: StreamRequest,
): Promise<Response> => {
  const principal = c.get('principal');
  deps.openAnswers.assertRoom(principal.tenantId);
  const run = await deps.runs.find(principal.tenantId, runId, 'none');
  const withDeltas = hasScope(principal, 'content:read');
  const runKey = withDeltas ? deltaKey(deps, run) : null;
  if (withDeltas) await noteContentRead(deps, principal, { runId, by: 'stream' });
  const gone = new AbortController();
  const following = {
    run,
    runId,
    after,
    runKey,
    requestId: c.get('requestId'),
    checkKey: c.get('checkKey'),
    gone: gone.signal,
  };
  const stream = streamOf(textOf(deps, following), () => gone.abort());
  return c.body(stream, 200, {
    'content-type': 'text/event-stream',
    'transfer-encoding': 'chunked',
    'cache-control': 'no-store',
    // Nothing follows a stream on its connection: a next request would cross our close at the end.
    connection: 'close',
    'x-accel-buffering': 'no',
  });
};

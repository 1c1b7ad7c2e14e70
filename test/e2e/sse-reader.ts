import { get, type IncomingMessage } from 'node:http';
import type { ApiClient } from './client.ts';

/** One frame of a text/event-stream, as the standard reads it. */
export interface Frame {
  readonly id: string | null;
  readonly event: string;
  readonly data: string;
}

const readFrame = (block: string): Frame | null => {
  let [id, event] = [null as string | null, 'message'];
  const data: string[] = [];
  for (const line of block.split('\n')) {
    const at = line.indexOf(':');
    const [field, value] = at < 0 ? [line, ''] : [line.slice(0, at), line.slice(at + 1).replace(/^ /, '')];
    if (field === 'id') id = value;
    else if (field === 'event') event = value;
    else if (field === 'data') data.push(value);
  }
  return data.length === 0 ? null : { id, event, data: data.join('\n') };
};

export interface StreamRequest {
  readonly runId: string;
  readonly lastEventId?: string | undefined;
  /** The connection is cut when this many bytes of the body came. */
  readonly cutAfter?: number;
}

const open = (api: ApiClient, { runId, lastEventId }: StreamRequest): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    const headers = {
      authorization: `Bearer ${api.key}`,
      accept: 'text/event-stream',
      ...(lastEventId === undefined ? {} : { 'last-event-id': lastEventId }),
    };
    get(`${api.url}/v1/runs/${runId}/events`, { headers, agent: false }, resolve).once('error', reject);
  });

/** The api did not begin a stream. */
export class StreamRefused extends Error {
  override readonly name = 'StreamRefused';
  readonly status: number;
  /** Seconds; 0 when it did not say. */
  readonly retryAfter: number;

  constructor(runId: string, { statusCode = 0, headers }: IncomingMessage) {
    super(`events of ${runId}: ${statusCode}`);
    this.status = statusCode;
    this.retryAfter = Number(headers['retry-after'] ?? 0);
  }
}

/** Whole frames until the stream ends or is cut; a frame of which a byte is missing never arrived. */
export async function* frames(api: ApiClient, request: StreamRequest): AsyncGenerator<Frame> {
  const response = await open(api, request);
  if (response.statusCode !== 200) {
    response.resume();
    throw new StreamRefused(request.runId, response);
  }
  let left = request.cutAfter ?? Number.POSITIVE_INFINITY;
  let bytes = Buffer.alloc(0);
  try {
    for await (const chunk of response as AsyncIterable<Buffer>) {
      bytes = Buffer.concat([bytes, chunk.subarray(0, Math.max(0, left))]);
      left -= chunk.length;
      for (let end = bytes.indexOf('\n\n'); end >= 0; end = bytes.indexOf('\n\n')) {
        const frame = readFrame(bytes.subarray(0, end).toString('utf8'));
        bytes = bytes.subarray(end + 2);
        if (frame !== null) yield frame;
      }
      if (left <= 0) return;
    }
  } finally {
    response.destroy();
  }
}

export const allFrames = async (api: ApiClient, request: StreamRequest): Promise<Frame[]> => {
  const all: Frame[] = [];
  for await (const frame of frames(api, request)) all.push(frame);
  return all;
};

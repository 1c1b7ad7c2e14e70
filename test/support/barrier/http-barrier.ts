import { createServer, type IncomingMessage, request, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text } from 'node:stream/consumers';
import type { Barrier, Verdict } from './barrier.ts';

export interface HttpRequest {
  readonly path: string;
  readonly body: string;
}

/** Read and not forwarded; answered, but nothing of the answer passed on; half of its first piece passed on. */
export type HttpStage = 'request' | 'answer' | 'stream';

/** Undefined: passes. */
export type HttpGate = (passing: HttpRequest, stage: HttpStage) => Promise<Verdict> | undefined;

export interface HttpBarrier extends Barrier {
  readonly url: string;
}

/** Forwards a request; resolves with the answer's head. Ends with the connection it came on. */
const forward = (
  req: IncomingMessage,
  body: string,
  { target, signal }: { target: string; signal: AbortSignal },
): Promise<IncomingMessage> =>
  new Promise((resolve, reject) => {
    const { method, headers, url } = req;
    const out = request(
      new URL(url ?? '/', target),
      { method, headers: { ...headers, host: '' }, signal },
      resolve,
    );
    out.on('error', reject);
    out.end(body);
  });

const handle = async (
  req: IncomingMessage,
  res: ServerResponse,
  { target, gate }: { target: string; gate: HttpGate },
): Promise<void> => {
  const passing = { path: req.url ?? '/', body: await text(req) };
  const stopped = async (stage: HttpStage): Promise<boolean> => (await gate(passing, stage)) === 'drop';
  if (await stopped('request')) return void res.destroy();
  const gone = new AbortController();
  res.on('close', () => gone.abort());
  const answer = await forward(req, passing.body, { target, signal: gone.signal });
  if (await stopped('answer')) return void res.destroy();
  res.writeHead(answer.statusCode ?? 502, answer.headers);
  let first = true;
  for await (const piece of answer as AsyncIterable<Buffer>) {
    const half = first ? Math.ceil(piece.length / 2) : piece.length;
    res.write(piece.subarray(0, half));
    if (first && (await stopped('stream'))) return void res.destroy();
    first = false;
    if (half < piece.length) res.write(piece.subarray(half));
  }
  res.end();
};

/** Before an HTTP server. */
export const startHttpBarrier = async (target: string, gate: HttpGate): Promise<HttpBarrier> => {
  const server = createServer((req, res) => {
    handle(req, res, { target, gate }).catch(() => void res.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    url: `http://127.0.0.1:${port}`,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
};

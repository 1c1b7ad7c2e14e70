/** The small HTTP server beside a process that has no other: health, readiness, metrics. */
import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http';
import { listen } from './listen.ts';
import type { Logger } from './logger.ts';
import { answerProbe, type Probes } from './probes.ts';

export interface HealthServerOptions extends Probes {
  readonly host: string;
  /** 0: a free one, see `port` of the result and the log line `listening`. */
  readonly port: number;
  readonly logger: Logger;
}

export interface HealthServer {
  readonly port: number;
  readonly close: () => Promise<void>;
}

/** Rejects with `ListenError` when the address cannot be bound. */
export async function startHealthServer(options: HealthServerOptions): Promise<HealthServer> {
  const server = createServer((request, response) => {
    answer(options, request, response).catch((error: unknown) => {
      options.logger.error('probe failed', { error });
      response.destroy();
    });
  });
  const port = await listen(server, { host: options.host, port: options.port, variable: 'METRICS_PORT' });
  options.logger.info('listening', { port, host: options.host, serves: 'health' });
  return { port, close: () => close(server) };
}

async function answer(probes: Probes, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = request.url?.split('?', 1)[0] ?? '';
  const reply = request.method === 'GET' ? await answerProbe(probes, path) : undefined;
  if (reply === undefined) {
    response.writeHead(404, { 'content-type': 'text/plain' }).end('not found\n');
    return;
  }
  response.writeHead(reply.status, { 'content-type': reply.contentType, 'cache-control': 'no-store' });
  response.end(reply.body);
}

/** Cuts open connections: a slow scraper must not hold the process up. */
function close(server: Server): Promise<void> {
  if (!server.listening) return Promise.resolve();
  return new Promise((resolve, reject) => {
    server.close((error) => (error === undefined ? resolve() : reject(error)));
    server.closeAllConnections();
  });
}

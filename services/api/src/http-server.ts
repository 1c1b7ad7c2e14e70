import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { AddressInfo, Socket } from 'node:net';

/**
 * Where the api listens. Owns its connections, so that a stop waits for answers and for nothing else:
 * Node's own idle list leaves out connections that a client opened ahead of time.
 */
export interface HttpServer {
  readonly port: number;
  /** No new connections; open answers get `finishMs`, everything else is closed at once. */
  stop(finishMs: number): Promise<void>;
}

/** Longer than a load balancer keeps an idle connection, so that it is never we who cut it. */
const KEEP_ALIVE_MS = 75_000;

/** Rejects when the address cannot be bound. */
export const startServer = async (
  server: Server,
  address: { port: number; host: string },
): Promise<HttpServer> => {
  const idle = new Set<Socket>();
  let stopping = false;
  const rest = (socket: Socket): void => {
    if (stopping) socket.destroySoon();
    else if (!socket.destroyed) idle.add(socket);
  };
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.on('connection', (socket: Socket) => {
    idle.add(socket);
    socket.once('close', () => idle.delete(socket));
  });
  server.on('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    idle.delete(socket);
    response.once('close', () => rest(socket));
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(address.port, address.host, () => {
      server.off('error', reject);
      resolve();
    });
  });
  const stop = (finishMs: number): Promise<void> =>
    new Promise((resolve) => {
      stopping = true;
      const cut = setTimeout(() => server.closeAllConnections(), finishMs);
      server.close(() => {
        clearTimeout(cut);
        resolve();
      });
      for (const socket of idle) socket.destroy();
    });
  return { port: (server.address() as AddressInfo).port, stop };
};

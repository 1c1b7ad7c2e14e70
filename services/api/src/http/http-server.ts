import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import type { Socket } from 'node:net';
import type { Duplex } from 'node:stream';
import { type Clock, listen, systemClock } from '@signalbox/runtime';
import { unreadAnswer } from './unread-requests.ts';

/**
 * Where the api listens. Owns its connections, so that a stop breaks none that is in use.
 *
 * States: serving -> leaving -> closing -> closed.
 * leaving: it serves as before, while whoever sends requests here notices that it is not ready any more. Each answer
 *          closes its connection: a client that keeps one comes back to another process, and no request crosses a close.
 * closing: no new connections; idle ones are closed, answers under way get a while, then they are cut. Node's own idle
 *          list leaves out connections that a client opened ahead of time.
 */

export interface HttpServer {
  readonly port: number;
  stop(options: StopOptions): Promise<void>;
}

export interface StopOptions {
  /** How long it is leaving. */
  readonly leaveMs: number;
  /** What answers under way get when it is closing. */
  readonly finishMs: number;
  /** Called when it begins to close: streams and waits are to end. */
  readonly onClosing: () => void;
  readonly clock?: Clock;
}

/** Longer than a load balancer keeps an idle connection, so that it is never we who cut it. */
const KEEP_ALIVE_MS = 75_000;

interface Connections {
  /** From now on each answer closes its connection. */
  retire(): void;
  closeIdle(): void;
  /** Whether a part of an answer is on its way to this client. */
  hasBegun(client: Duplex): boolean;
}

const trackConnections = (server: Server): Connections => {
  const idle = new Set<Socket>();
  const answering = new Set<ServerResponse>();
  let retired = false;
  let closing = false;
  server.on('connection', (socket: Socket) => {
    idle.add(socket);
    socket.once('close', () => idle.delete(socket));
  });
  // Before the one who answers, who may do so at once.
  server.prependListener('request', ({ socket }: IncomingMessage, response: ServerResponse) => {
    idle.delete(socket);
    answering.add(response);
    if (retired) response.shouldKeepAlive = false;
    response.once('close', () => {
      answering.delete(response);
      if (closing) socket.destroySoon();
      else if (!socket.destroyed) idle.add(socket);
    });
  });
  return {
    retire: () => {
      retired = true;
      for (const response of answering) response.shouldKeepAlive = false;
    },
    closeIdle: () => {
      closing = true;
      for (const socket of idle) socket.destroy();
    },
    hasBegun: (client) => [...answering].some(({ socket, headersSent }) => socket === client && headersSent),
  };
};

const close = (server: Server, connections: Connections, finishMs: number): Promise<void> =>
  new Promise((resolve) => {
    const cut = setTimeout(() => server.closeAllConnections(), finishMs);
    server.close(() => {
      clearTimeout(cut);
      resolve();
    });
    connections.closeIdle();
  });

/** Rejects with `ListenError` when the address cannot be bound. */
export const startServer = async (
  server: Server,
  address: { port: number; host: string },
): Promise<HttpServer> => {
  const connections = trackConnections(server);
  server.keepAliveTimeout = KEEP_ALIVE_MS;
  server.on('clientError', (error: NodeJS.ErrnoException, client) => {
    if (client.writable && !connections.hasBegun(client)) client.write(unreadAnswer(error));
    client.destroy(error);
  });
  const port = await listen(server, { ...address, variable: 'PORT' });
  return {
    port,
    stop: async ({ leaveMs, finishMs, onClosing, clock = systemClock }) => {
      connections.retire();
      if (leaveMs > 0) await clock.sleep(leaveMs);
      onClosing();
      await close(server, connections, finishMs);
    },
  };
};

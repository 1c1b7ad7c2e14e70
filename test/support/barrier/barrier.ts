import { connect, createServer, type Socket } from 'node:net';

/**
 * A barrier stands between a process and what it acts on. Every effect of a process goes over a socket, so its
 * URLs are the ports at which it can be stopped between any two steps, with nothing of it in product code.
 * A gate is asked for each request twice: read and not forwarded (`before`), carried out and its reply withheld
 * (`after`). While it waits, nothing passes on that connection.
 */
export type Position = 'before' | 'after';

/** `drop`: this connection carries nothing any more. */
export type Verdict = 'pass' | 'drop';

/** Undefined: passes. */
export type Gate<T> = (passing: T, position: Position) => Promise<Verdict> | undefined;

export interface Barrier {
  readonly port: number;
  /** Cuts all connections and takes no new ones. */
  close(): Promise<void>;
}

export class DroppedError extends Error {
  override readonly name = 'DroppedError';
}

/** Asks the gate; throws when the connection is to be cut. */
export const pass = async (verdict: Promise<Verdict> | undefined): Promise<void> => {
  if (verdict !== undefined && (await verdict) === 'drop') throw new DroppedError();
};

/** Whole messages of a stream; `endOf` says where the first one ends, -1 when it is not all there. */
export async function* messages(from: Socket, endOf: (bytes: Buffer) => number): AsyncGenerator<Buffer> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const chunk of from as AsyncIterable<Buffer>) {
    rest = rest.length === 0 ? chunk : Buffer.concat([rest, chunk]);
    for (let end = endOf(rest); end !== -1; end = endOf(rest)) {
      yield rest.subarray(0, end);
      rest = rest.subarray(end);
    }
  }
}

/** Carries one connection until either side ends it. */
export type Carry = (client: Socket, server: Socket) => readonly Promise<void>[];

export const startBarrier = async (targetUrl: string, carry: Carry): Promise<Barrier> => {
  const target = new URL(targetUrl);
  const sockets = new Set<Socket>();
  const server = createServer({ noDelay: true }, (client) => {
    const upstream = connect({ host: target.hostname, port: Number(target.port), noDelay: true });
    const cut = (): void => {
      client.destroy();
      upstream.destroy();
    };
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', cut).on('close', () => {
        sockets.delete(socket);
        cut();
      });
    }
    for (const way of carry(client, upstream)) way.then(cut, cut);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the barrier has no port');
  return {
    port: address.port,
    close: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
};

/** The URL with the barrier in the place of its server. */
export const through = ({ port }: Barrier, url: string): string => {
  const changed = new URL(url);
  changed.host = `127.0.0.1:${port}`;
  return changed.href;
};

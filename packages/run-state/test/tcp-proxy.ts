import { connect, createServer, type Socket } from 'node:net';

export interface Target {
  readonly host: string;
  readonly port: number;
}

/** A TCP proxy that can do what networks do: take a request through and lose its reply. */
export interface TcpProxy {
  readonly url: string;
  /** How many replies were lost. */
  lost(): number;
  /** The next `count` times the server answers a client: drop the answer and cut the connection. */
  loseReplies(count: number): void;
  /** New connections go elsewhere; those that are open stay where they are. */
  retarget(to: Target): void;
  /** Connections that are open now stay so, and nothing passes any more; new ones are whole. */
  freeze(): void;
  close(): Promise<void>;
}

export const startProxy = async (first: Target): Promise<TcpProxy> => {
  let target = first;
  let toLose = 0;
  let lost = 0;
  const sockets = new Set<Socket>();
  const frozen = new WeakSet<Socket>();
  const server = createServer((client) => {
    const upstream = connect(target);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.on('error', () => undefined);
      socket.on('close', () => sockets.delete(socket));
    }
    client.on('data', (data) => {
      if (!frozen.has(client)) upstream.write(data);
    });
    upstream.on('data', (data) => {
      if (frozen.has(upstream)) return;
      if (toLose > 0) {
        toLose -= 1;
        lost += 1;
        client.destroy();
        upstream.destroy();
      } else client.write(data);
    });
    client.on('close', () => upstream.destroy());
    upstream.on('close', () => client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('the proxy has no port');
  return {
    url: `redis://127.0.0.1:${address.port}`,
    lost: () => lost,
    loseReplies: (count) => {
      toLose = count;
    },
    retarget: (to) => {
      target = to;
    },
    freeze: () => {
      for (const socket of sockets) frozen.add(socket);
    },
    close: async () => {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
};

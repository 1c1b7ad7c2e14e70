/**
 * A TCP proxy that breaks what goes through it: between one process and one store. Modes:
 *   pass     bytes go both ways at once
 *   slow     every piece waits for a delay and a jitter; their order stays
 *   hole     half-open: nothing arrives, nothing is closed; what was sent meanwhile arrives when the mode changes
 *   swallow  requests arrive, replies are lost; cut() then resets the connection
 */
import { once } from 'node:events';
import { connect, createServer, type Socket } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';
import { freePort } from '@signalbox/local';

export type ProxyMode =
  | { readonly kind: 'pass' | 'hole' | 'swallow' }
  | { readonly kind: 'slow'; readonly delayMs: number; readonly jitterMs: number };

export interface ProxyCounts {
  connections: number;
  cut: number;
  delayedBytes: number;
  heldBytes: number;
  swallowedBytes: number;
  /** Requests whose reply was swallowed, and that came again on another connection. */
  resent: number;
}

export interface TcpProxy {
  readonly port: number;
  readonly counts: Readonly<ProxyCounts>;
  setMode(mode: ProxyMode): void;
  /** Resets every connection: how many. */
  cut(): number;
  stop(): Promise<void>;
}

interface Shared {
  mode: ProxyMode;
  readonly random: () => number;
  readonly counts: ProxyCounts;
  /** Ends of large requests that got no reply. A commit carries hashes, so no other request ends like it. */
  readonly unanswered: Set<string>;
}

const MARK_BYTES = 160;
const LARGE_BYTES = 800;
const PASS: ProxyMode = { kind: 'pass' };

const markOf = (bytes: Buffer): string => bytes.subarray(-MARK_BYTES).toString('latin1');

const countResent = ({ unanswered, counts }: Shared, bytes: Buffer): void => {
  if (unanswered.size === 0 || bytes.length < LARGE_BYTES) return;
  const text = bytes.toString('latin1');
  for (const mark of unanswered) {
    if (!text.includes(mark)) continue;
    unanswered.delete(mark);
    counts.resent += 1;
  }
};

/** One direction of one connection. */
class Pipe {
  readonly #from: Socket;
  readonly #to: Socket;
  readonly #isReply: boolean;
  readonly #shared: Shared;
  readonly #queue: Buffer[] = [];
  #ended = false;
  #draining = false;

  constructor(from: Socket, to: Socket, { isReply, shared }: { isReply: boolean; shared: Shared }) {
    this.#from = from;
    this.#to = to;
    this.#isReply = isReply;
    this.#shared = shared;
    from.on('data', (bytes: Buffer) => this.#take(bytes));
    from.on('error', () => undefined);
    from.on('close', () => {
      this.#ended = true;
      this.resume();
    });
  }

  /** Goes on after a change of the mode. */
  resume(): void {
    if (!this.#draining) void this.#drain();
  }

  #take(bytes: Buffer): void {
    const { mode, counts, unanswered } = this.#shared;
    if (mode.kind === 'swallow') {
      if (this.#isReply) {
        counts.swallowedBytes += bytes.length;
        return;
      }
      if (bytes.length >= LARGE_BYTES) unanswered.add(markOf(bytes));
    } else if (!this.#isReply) countResent(this.#shared, bytes);
    if (mode.kind === 'hole') counts.heldBytes += bytes.length;
    this.#queue.push(bytes);
    this.resume();
  }

  async #drain(): Promise<void> {
    this.#draining = true;
    const { counts, random } = this.#shared;
    while (this.#queue.length > 0 && this.#shared.mode.kind !== 'hole' && !this.#to.destroyed) {
      const { mode } = this.#shared;
      const bytes = this.#queue.shift() ?? Buffer.alloc(0);
      if (mode.kind === 'slow') {
        counts.delayedBytes += bytes.length;
        await sleep(mode.delayMs + random() * mode.jitterMs);
      }
      this.#to.write(bytes);
    }
    this.#draining = false;
    if (this.#ended && this.#queue.length === 0) this.#to.end();
    if (this.#to.destroyed) this.#from.destroy();
  }
}

interface Link {
  readonly sockets: readonly [Socket, Socket];
  readonly pipes: readonly [Pipe, Pipe];
}

const open = (client: Socket, target: number, shared: Shared): Link => {
  const server = connect({ port: target, host: '127.0.0.1' });
  client.setNoDelay(true);
  server.setNoDelay(true);
  // A store that is away refuses: the client must see its connection end.
  server.on('error', () => client.resetAndDestroy());
  const pipes = [
    new Pipe(client, server, { isReply: false, shared }),
    new Pipe(server, client, { isReply: true, shared }),
  ] as const;
  return { sockets: [client, server], pipes };
};

export const startTcpProxy = async (target: number, random: () => number): Promise<TcpProxy> => {
  const counts = { connections: 0, cut: 0, delayedBytes: 0, heldBytes: 0, swallowedBytes: 0, resent: 0 };
  const shared: Shared = { mode: PASS, random, counts, unanswered: new Set() };
  const links = new Set<Link>();
  const server = createServer((client) => {
    counts.connections += 1;
    const link = open(client, target, shared);
    links.add(link);
    // What its client sent last may still be held for the server.
    link.sockets[1].once('close', () => links.delete(link));
  });
  const port = await freePort();
  server.listen({ port, host: '127.0.0.1' });
  await once(server, 'listening');
  const cut = (): number => {
    const all = [...links];
    for (const { sockets } of all) for (const socket of sockets) socket.resetAndDestroy();
    counts.cut += all.length;
    return all.length;
  };
  return {
    port,
    counts,
    setMode: (mode) => {
      shared.mode = mode;
      for (const { pipes } of links) for (const pipe of pipes) pipe.resume();
    },
    cut,
    stop: async () => {
      const closed = once(server, 'close');
      server.close();
      cut();
      await closed;
    },
  };
};

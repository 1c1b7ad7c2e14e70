import { createServer } from 'node:net';

export const LOOPBACK = '127.0.0.1';

// Below the kernel's range for outgoing connections: there, a client that reconnects to a stopped server
// can end up connected to itself, or take the port that the server wants back.
const FIRST = 20_000;
const SPAN = 10_000;
/**
 * Between our look at a port and the server's start another process may look, too: each looks in a place of its own,
 * and none names a port twice.
 */
const PLACES = 250;
const PLACE = FIRST + (process.pid % PLACES) * (SPAN / PLACES);
const named = new Set<number>();

const isFree = (port: number): Promise<boolean> =>
  new Promise((resolve) => {
    const server = createServer();
    server.once('error', () => resolve(false));
    server.listen({ port, host: LOOPBACK, exclusive: true }, () => server.close(() => resolve(true)));
  });

/** The preferred port, or the next free one after it; without a preference some free port. */
export async function freePort(preferred?: number): Promise<number> {
  const start = preferred ?? PLACE;
  for (let port = start; port < start + 1000 && port < 65_536; port++) {
    if (preferred === undefined && named.has(port)) continue;
    named.add(port);
    if (await isFree(port)) return port;
  }
  throw new Error(`No free port from ${start} on; stop what listens there or choose another port.`);
}

/**
 * A load balancer as one stands before the api: it asks /readyz, gives each new request to a ready api in turn, keeps
 * its connections, and retries nothing. What breaks between it and an api is a fault, and the client sees a 502.
 */
import {
  Agent,
  createServer,
  type IncomingMessage,
  request,
  type Server,
  type ServerResponse,
} from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface LoadBalancer {
  readonly url: string;
  /** Requests that an api did not answer to the end although their client waited. */
  readonly faults: readonly string[];
  add(url: string): void;
  stop(): Promise<void>;
}

interface Backend {
  readonly url: string;
  readonly agent: Agent;
  ready: boolean;
}

const CHECK_EVERY_MS = 100;
const CHECK_TIMEOUT_MS = 1000;

/** One that is slow to say so is as ready as it was. */
const check = async (backend: Backend): Promise<void> => {
  try {
    const signal = AbortSignal.timeout(CHECK_TIMEOUT_MS);
    const answer = await fetch(`${backend.url}/readyz`, { signal, headers: { connection: 'close' } });
    await answer.body?.cancel();
    backend.ready = answer.ok;
  } catch (error) {
    if (!(error instanceof Error && error.name === 'TimeoutError')) backend.ready = false;
  }
};

interface Exchange {
  readonly incoming: IncomingMessage;
  readonly response: ServerResponse;
  readonly fault: (why: string) => void;
}

const refuse = (response: ServerResponse, status: number): void => {
  if (response.headersSent) response.destroy();
  else response.writeHead(status).end();
};

const forward = ({ url, agent }: Backend, { incoming, response, fault }: Exchange): void => {
  const { connection: _, ...headers } = incoming.headers;
  const upstream = request(`${url}${incoming.url}`, { method: incoming.method, headers, agent });
  const broken = (error: Error): void => {
    if (response.destroyed) return; // its client went away
    fault(`${incoming.method} ${incoming.url} at ${url}: ${error.message}`);
    refuse(response, 502);
  };
  upstream.once('error', broken);
  upstream.once('response', (answer) => {
    const { connection: _own, 'keep-alive': _kept, ...sent } = answer.headers;
    response.writeHead(answer.statusCode ?? 502, sent);
    answer.once('error', broken);
    answer.pipe(response);
  });
  response.once('close', () => upstream.destroy());
  incoming.pipe(upstream);
};

const listen = async (server: Server): Promise<string> => {
  // Longer than any client of a test keeps an idle connection.
  server.keepAliveTimeout = 300_000;
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
};

export const startLoadBalancer = async (urls: readonly string[]): Promise<LoadBalancer> => {
  const faults: string[] = [];
  const backends: Backend[] = [];
  const stopping = new AbortController();
  const watch = async (backend: Backend): Promise<void> => {
    while (!stopping.signal.aborted) {
      await check(backend);
      await sleep(CHECK_EVERY_MS, undefined, { signal: stopping.signal }).catch(() => undefined);
    }
    backend.agent.destroy();
  };
  const watching: Promise<void>[] = [];
  const add = (url: string): void => {
    const backend = { url, agent: new Agent({ keepAlive: true }), ready: true };
    backends.push(backend);
    watching.push(watch(backend));
  };
  let turn = 0;
  const server = createServer((incoming, response) => {
    const fault = (why: string): void => void faults.push(why);
    const ready = backends.filter((backend) => backend.ready);
    const chosen = ready[(turn += 1) % Math.max(1, ready.length)];
    if (chosen !== undefined) return forward(chosen, { incoming, response, fault });
    fault(`${incoming.method} ${incoming.url}: no api is ready`);
    refuse(response, 502);
  });
  for (const url of urls) add(url);
  return {
    url: await listen(server),
    faults,
    add,
    stop: async () => {
      stopping.abort();
      await Promise.all(watching);
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
    },
  };
};

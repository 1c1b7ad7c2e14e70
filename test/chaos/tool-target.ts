/**
 * What http_request reaches, with books of its own: every request that arrived whole has had its effect, whether or
 * not anybody was there to hear of it.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { setTimeout as sleep } from 'node:timers/promises';

export interface Effect {
  /** `<run>:<step>:<call>`. */
  readonly key: string;
  readonly method: string;
  readonly at: number;
}

export interface ToolTarget {
  readonly url: string;
  /** `host:port`, as HTTP_TOOL_ALLOW wants it. */
  readonly host: string;
  readonly effects: readonly Effect[];
  stop(): Promise<void>;
}

const FAILS = 0.05;
const SLOW = 0.15;

export const startToolTarget = async (random: () => number): Promise<ToolTarget> => {
  const effects: Effect[] = [];
  const server = createServer((request, response) => {
    void (async () => {
      request.resume();
      await once(request, 'end');
      const key = String(request.headers['idempotency-key'] ?? '');
      effects.push({ key, method: request.method ?? '', at: Date.now() });
      await sleep(random() * (random() < SLOW ? 1200 : 150));
      response.writeHead(random() < FAILS ? 500 : 200).end(`effect ${effects.length}`);
    })().catch(() => response.destroy());
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const host = `127.0.0.1:${(server.address() as AddressInfo).port}`;
  return {
    url: `http://${host}`,
    host,
    effects,
    stop: async () => {
      const closed = once(server, 'close');
      server.close();
      server.closeAllConnections();
      await closed;
    },
  };
};

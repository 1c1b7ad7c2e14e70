import { lookup as lookUp } from 'node:dns/promises';
import { Agent as HttpAgent, type IncomingMessage, request as requestHttp } from 'node:http';
import { Agent as HttpsAgent, request as requestHttps } from 'node:https';
import { isIP, type LookupFunction } from 'node:net';
import ipaddr from 'ipaddr.js';
import { ToolError } from './tool.ts';

/**
 * HTTP to hosts by name, where the name is looked up once: the addresses that were checked are the ones that are
 * connected to, so a name that answers otherwise a moment later gains nothing (DNS rebinding). Only `localhost` may be
 * private. Each request has a connection of its own: one that was kept could break under a request that must not be
 * sent twice.
 */

export type Resolve = (host: string) => Promise<readonly string[]>;

export interface CheckedRequest {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | undefined;
  readonly signal: AbortSignal;
}

/**
 * Resolves when the answer begins. Throws `ToolError` for a name that leads nowhere or to a private address, and for a
 * server that changes the protocol.
 */
export type Send = (url: URL, request: CheckedRequest) => Promise<IncomingMessage>;

export const resolveAll: Resolve = async (host) =>
  (await lookUp(host, { all: true })).map(({ address }) => address);

const isPublic = (address: string): boolean => ipaddr.process(address).range() === 'unicast';

const checkedAddresses = async (resolve: Resolve, host: string): Promise<readonly string[]> => {
  const addresses = await resolve(host).catch((): readonly string[] => []);
  if (addresses.length === 0) throw new ToolError('tool_error', `The host ${host} could not be found.`);
  if (host === 'localhost' || addresses.every(isPublic)) return addresses;
  throw new ToolError(
    'tool_error',
    `The host ${host} resolves to a private address, which must be listed literally to be reached.`,
  );
};

const checkedLookup =
  (resolve: Resolve): LookupFunction =>
  (host, { all }, callback) => {
    checkedAddresses(resolve, host).then(
      (addresses) => {
        const found = addresses.map((address) => ({ address, family: isIP(address) }));
        const [first = { address: '', family: 0 }] = found;
        if (all === true) callback(null, found);
        else callback(null, first.address, first.family);
      },
      (error: Error) => callback(error, ''),
    );
  };

/** Said by us: Node frames no body of a DELETE by itself, and its bytes would be read as a request of their own. */
const framed = ({ headers, body }: CheckedRequest): Readonly<Record<string, string>> =>
  body === undefined ? headers : { ...headers, 'content-length': String(Buffer.byteLength(body)) };

/** Its connection would stay open, and nothing that follows is an answer. */
const SWITCHING_PROTOCOLS = 101;
const changesProtocol = (): ToolError =>
  new ToolError('tool_error', 'The server wants to speak another protocol (HTTP 101).');

export const createSend = (resolve: Resolve): Send => {
  const lookup = checkedLookup(resolve);
  const [http, https] = [new HttpAgent({ lookup }), new HttpsAgent({ lookup })];
  return (url, request) =>
    new Promise((answered, failed) => {
      const { method, body, signal } = request;
      const options = { method, headers: framed(request), signal };
      const sent =
        url.protocol === 'https:'
          ? requestHttps(url, { ...options, agent: https })
          : requestHttp(url, { ...options, agent: http });
      sent.once('response', (response) => {
        if (response.statusCode !== SWITCHING_PROTOCOLS) return answered(response);
        response.destroy();
        failed(changesProtocol());
      });
      sent.once('upgrade', (_, socket) => {
        socket.destroy();
        failed(changesProtocol());
      });
      // Also one that comes after the answer began: its reader hears of it too.
      sent.on('error', failed);
      sent.end(body);
    });
};

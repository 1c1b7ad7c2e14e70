import { lookup } from 'node:dns/promises';
import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';
import { z } from 'zod';
import { type Tool, type ToolContext, ToolError } from './tool.ts';

/**
 * Reaches only what the operator listed in HTTP_TOOL_ALLOW (`host[:port]`), and no redirect leads off it.
 * A private address is reached only when it is itself in the list, so a public name that resolves
 * to one is refused (server-side request forgery).
 */
const Arguments = z.strictObject({
  method: z.enum(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE']).default('GET'),
  url: z.url({ protocol: /^https?$/ }).max(4000),
  headers: z.record(z.string().max(200), z.string().max(4000)).default({}),
  body: z.string().max(200_000).optional(),
});
type Arguments = z.infer<typeof Arguments>;

const MAX_REDIRECTS = 5;
const MAX_BODY_CHARS = 50_000;
const MAX_BODY_BYTES = 1_000_000;
const TIMEOUT_MS = 60_000;
/** The caller's own: the model must not set them. */
const RESERVED_HEADERS = new Set([
  'host',
  'idempotency-key',
  'content-length',
  'connection',
  'transfer-encoding',
]);

export interface HttpToolOptions {
  readonly allow: readonly string[];
  readonly fetch: typeof fetch;
  readonly resolve?: (host: string) => Promise<readonly string[]>;
}

const resolveAll = async (host: string): Promise<readonly string[]> =>
  (await lookup(host, { all: true })).map(({ address }) => address);

const isPublic = (address: string): boolean => ipaddr.process(address).range() === 'unicast';

const bare = (hostname: string): string => hostname.replace(/^\[|\]$/g, '');

const isListed = (url: URL, allow: readonly string[]): boolean => {
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  return allow.includes(`${url.hostname}:${port}`) || allow.includes(url.hostname);
};

const refuse = (message: string): ToolError => new ToolError('tool_error', message);

const checkTarget = async (url: URL, { allow, resolve = resolveAll }: HttpToolOptions): Promise<void> => {
  if (!isListed(url, allow))
    throw refuse(`The address ${url.host} is not in the operator's list of allowed hosts.`);
  const host = bare(url.hostname);
  if (isIP(host) !== 0) return; // listed literally
  const addresses = await resolve(host).catch(() => {
    throw refuse(`The host ${host} could not be found.`);
  });
  if (host !== 'localhost' && !addresses.every(isPublic)) {
    throw refuse(
      `The host ${host} resolves to a private address, which must be listed literally to be reached.`,
    );
  }
};

const headersOf = (args: Arguments, context: ToolContext): Headers => {
  const headers = new Headers();
  for (const [name, value] of Object.entries(args.headers)) {
    if (RESERVED_HEADERS.has(name.toLowerCase())) continue;
    try {
      headers.set(name, value);
    } catch {
      throw new ToolError('invalid_arguments', 'A header has an invalid name or value.');
    }
  }
  headers.set('idempotency-key', context.idempotencyKey);
  return headers;
};

const readBody = async (response: Response): Promise<string> => {
  if (response.body === null) return '';
  const decoder = new TextDecoder();
  let text = '';
  let bytes = 0;
  for await (const chunk of response.body as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    text += decoder.decode(chunk, { stream: true });
    if (text.length > MAX_BODY_CHARS || bytes > MAX_BODY_BYTES) break;
  }
  return text.length > MAX_BODY_CHARS ? `${text.slice(0, MAX_BODY_CHARS)}\n[cut off]` : text;
};

/** What proves who asks stays with the host it was meant for. */
const CREDENTIAL_HEADERS = ['authorization', 'cookie', 'proxy-authorization'];

interface Hop {
  readonly url: URL;
  readonly method: string;
  readonly body: string | undefined;
}

const redirectOf = (response: Response, hop: Hop): Hop | null => {
  const location = response.headers.get('location');
  if (response.status < 300 || response.status > 399 || location === null) return null;
  const target = URL.parse(location, hop.url.href);
  if (target === null) throw refuse('The server redirected to something that is no address.');
  const keeps = response.status === 307 || response.status === 308;
  const isRead = hop.method === 'GET' || hop.method === 'HEAD';
  return keeps || isRead ? { ...hop, url: target } : { url: target, method: 'GET', body: undefined };
};

const request = async (args: Arguments, context: ToolContext, options: HttpToolOptions): Promise<string> => {
  const headers = headersOf(args, context);
  let hop: Hop = { url: new URL(args.url), method: args.method, body: args.body };
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects += 1) {
    await checkTarget(hop.url, options);
    const response = await options.fetch(hop.url, {
      method: hop.method,
      headers,
      redirect: 'manual',
      signal: context.signal,
      ...(hop.body === undefined || hop.method === 'GET' || hop.method === 'HEAD' ? {} : { body: hop.body }),
    });
    const next = redirectOf(response, hop);
    if (next === null) {
      const type = response.headers.get('content-type') ?? 'unknown type';
      return `HTTP ${response.status} (${type})\n${await readBody(response)}`;
    }
    await response.body?.cancel();
    if (next.url.origin !== hop.url.origin) for (const name of CREDENTIAL_HEADERS) headers.delete(name);
    hop = next;
  }
  throw refuse(`The server redirected more than ${MAX_REDIRECTS} times.`);
};

const causeOf = (error: unknown): string => {
  if (!(error instanceof Error)) return 'unknown';
  const cause = error.cause;
  return cause instanceof Error && 'code' in cause ? String(cause.code) : error.message;
};

export const httpRequest = (options: HttpToolOptions): Tool<Arguments> => ({
  name: 'http_request',
  description: 'Sends an HTTP request to one of the hosts the operator allows and returns status and body.',
  parameters: Arguments,
  timeoutMs: TIMEOUT_MS,
  repeatable: ({ method }) => method === 'GET' || method === 'HEAD',
  execute: async (args, context) => {
    try {
      return await request(args, context, options);
    } catch (error) {
      if (error instanceof ToolError || context.signal.aborted) throw error;
      throw refuse(`The request failed: ${causeOf(error)}.`);
    }
  },
});

import type { IncomingMessage } from 'node:http';
import { z } from 'zod';
import { createSend, resolveAll, type Resolve, type Send } from './checked-request.ts';
import { type Tool, type ToolContext, ToolError } from './tool.ts';
import { cutToFit } from './cut-to-fit.ts';

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
  // Answers are read as they come.
  'accept-encoding',
]);

export interface HttpToolOptions {
  readonly allow: readonly string[];
  /** Default: the system's. */
  readonly resolve?: Resolve;
}

const isListed = (url: URL, allow: readonly string[]): boolean => {
  const port = url.port === '' ? (url.protocol === 'https:' ? '443' : '80') : url.port;
  return allow.includes(`${url.hostname}:${port}`) || allow.includes(url.hostname);
};

const refuse = (message: string): ToolError => new ToolError('tool_error', message);

type SetHeaders = Arguments['headers'];

const headersOf = (set: SetHeaders, context: ToolContext): Headers => {
  const headers = new Headers({ accept: '*/*', 'user-agent': 'signalbox' });
  for (const [name, value] of Object.entries(set)) {
    if (RESERVED_HEADERS.has(name.toLowerCase())) continue;
    try {
      headers.set(name, value);
    } catch {
      throw new ToolError('invalid_arguments', 'A header has an invalid name or value.');
    }
  }
  headers.set('accept-encoding', 'identity');
  headers.set('idempotency-key', context.idempotencyKey);
  return headers;
};

const CHARSET = /;\s*charset="?([^\s;"]+)/i;

/** As the server says that its text is spelled; UTF-8 when it says nothing, or nothing that is known. */
const decoderOf = ({ headers }: IncomingMessage) => {
  try {
    return new TextDecoder(CHARSET.exec(headers['content-type'] ?? '')?.[1]);
  } catch {
    return new TextDecoder();
  }
};

const readBody = async (response: IncomingMessage): Promise<string> => {
  const decoder = decoderOf(response);
  let text = '';
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Uint8Array>) {
    bytes += chunk.byteLength;
    text += decoder.decode(chunk, { stream: true });
    if (text.length > MAX_BODY_CHARS || bytes > MAX_BODY_BYTES) break;
  }
  return cutToFit(text, MAX_BODY_CHARS);
};

interface Hop {
  readonly url: URL;
  readonly method: string;
  readonly body: string | undefined;
}

/** Any of them may prove who asks, and that is for the host it was set for. What the body is goes with the body. */
const setForAnother = (set: SetHeaders, { body }: Hop): SetHeaders =>
  Object.fromEntries(
    Object.entries(set).filter(([name]) => body !== undefined && name.toLowerCase() === 'content-type'),
  );

/** Others may name a location too: 300 offers several, 304 says that nothing has changed. */
const REDIRECTS = new Set([301, 302, 303, 307, 308]);

const redirectOf = (
  { statusCode: status = 0, headers: { location } }: IncomingMessage,
  hop: Hop,
): Hop | null => {
  if (!REDIRECTS.has(status) || location === undefined) return null;
  const target = URL.parse(location, hop.url.href);
  if (target === null) throw refuse('The server redirected to something that is no address.');
  const keeps = status === 307 || status === 308;
  const isRead = hop.method === 'GET' || hop.method === 'HEAD';
  return keeps || isRead ? { ...hop, url: target } : { url: target, method: 'GET', body: undefined };
};

interface Transport {
  readonly allow: readonly string[];
  readonly send: Send;
}

const request = async (
  args: Arguments,
  context: ToolContext,
  { allow, send }: Transport,
): Promise<string> => {
  let set = args.headers;
  let hop: Hop = { url: new URL(args.url), method: args.method, body: args.body };
  for (let redirects = 0; redirects <= MAX_REDIRECTS; redirects += 1) {
    const { url, method } = hop;
    if (!isListed(url, allow))
      throw refuse(`The address ${url.host} is not in the operator's list of allowed hosts.`);
    const response = await send(url, {
      method,
      headers: Object.fromEntries(headersOf(set, context)),
      body: method === 'GET' || method === 'HEAD' ? undefined : hop.body,
      signal: context.signal,
    });
    const next = redirectOf(response, hop);
    if (next === null) {
      const type = response.headers['content-type'] ?? 'unknown type';
      return `HTTP ${response.statusCode} (${type})\n${await readBody(response)}`;
    }
    response.destroy();
    if (next.url.origin !== url.origin) set = setForAnother(set, next);
    hop = next;
  }
  throw refuse(`The server redirected more than ${MAX_REDIRECTS} times.`);
};

const causeOf = (error: unknown): string => {
  if (!(error instanceof Error)) return 'unknown';
  return 'code' in error ? String(error.code) : error.message;
};

export const httpRequest = ({ allow, resolve = resolveAll }: HttpToolOptions): Tool<Arguments> => {
  const transport = { allow, send: createSend(resolve) };
  return {
    name: 'http_request',
    description: 'Sends an HTTP request to one of the hosts the operator allows and returns status and body.',
    parameters: Arguments,
    timeoutMs: TIMEOUT_MS,
    repeatable: ({ method }) => method === 'GET' || method === 'HEAD',
    execute: async (args, context) => {
      try {
        return await request(args, context, transport);
      } catch (error) {
        if (error instanceof ToolError || context.signal.aborted) throw error;
        throw refuse(`The request failed: ${causeOf(error)}.`);
      }
    },
  };
};

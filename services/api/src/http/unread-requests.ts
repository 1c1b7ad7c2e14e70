import { maxHeaderSize, STATUS_CODES } from 'node:http';
import { RequestError } from '@hono/node-server';
import { type ErrorCode, SignalboxError } from '@signalbox/contracts';
import { headersOf, toProblem } from './problem.ts';

/** Requests that no route reads, since they are no HTTP or did not come whole: they too are answered by a problem. */

/** What Node calls them. */
const READ_AS: Readonly<Record<string, readonly [ErrorCode, string]>> = {
  HPE_HEADER_OVERFLOW: [
    'headers_too_large',
    `Address and headers may have ${maxHeaderSize} bytes at most; send less.`,
  ],
  HPE_CHUNK_EXTENSIONS_OVERFLOW: [
    'payload_too_large',
    'The chunks of the body have too many extensions; send none.',
  ],
  ERR_HTTP_REQUEST_TIMEOUT: [
    'request_timeout',
    'The rest of the request did not come in time; send it again.',
  ],
};

const malformed = (cause: unknown): SignalboxError =>
  new SignalboxError(
    'malformed_request',
    'The request is not well-formed HTTP; look at its head and framing.',
    {
      cause,
    },
  );

const toError = (cause: NodeJS.ErrnoException): SignalboxError => {
  const known = READ_AS[cause.code ?? ''];
  return known === undefined ? malformed(cause) : new SignalboxError(...known, { cause });
};

/** All that is written to a connection that is closed then: Node has no response for it. */
export const unreadAnswer = (cause: NodeJS.ErrnoException): string => {
  const error = toError(cause);
  const body = JSON.stringify(toProblem(error));
  const headers = { ...headersOf(error), 'content-length': Buffer.byteLength(body), connection: 'close' };
  const lines = Object.entries(headers).map(([name, value]) => `${name}: ${value}`);
  return [`HTTP/1.1 ${error.status} ${STATUS_CODES[error.status]}`, ...lines, '', body].join('\r\n');
};

/** For what comes before the app, whose own errors are answered there: a host or an address that is none. */
export const answerUnread = (cause: unknown): Response => {
  const error =
    cause instanceof RequestError
      ? malformed(cause)
      : new SignalboxError('internal', 'unexpected error', { cause });
  return new Response(JSON.stringify(toProblem(error)), { status: error.status, headers: headersOf(error) });
};

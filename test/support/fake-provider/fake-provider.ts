import { randomUUID } from 'node:crypto';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { text as readText } from 'node:stream/consumers';
import { setImmediate, setTimeout as sleep } from 'node:timers/promises';
import type { MockScript } from '@signalbox/providers';
import { sha256Hex } from '@signalbox/runtime';
import { anthropicApi } from './anthropic-api.ts';
import { createLedger, KNOWN_RATES, type Ledger } from './ledger.ts';
import { openaiApi } from './openai-api.ts';
import { defaultReply, resolveReply } from './replies.ts';
import type {
  Behave,
  FakePing,
  FakeRates,
  FakeRequest,
  LedgerEntry,
  ResolvedReply,
  WireApi,
} from './types.ts';

/**
 * A model provider over real HTTP, speaking Anthropic Messages and OpenAI Chat Completions, streamed and not.
 * It takes any key but wants one, refuses what the real APIs refuse, and keeps books of what it would bill.
 * By default it plays the script found in the conversation (format of `mock/script`), else echoes.
 */
export interface FakeProviderOptions {
  /** Default: any free port. */
  readonly port?: number;
  readonly behave?: Behave;
  /** Played when neither `behave` nor the conversation says what to do. */
  readonly script?: MockScript;
  /** By model; claude-haiku-4-5 and gpt-4o-mini are known. */
  readonly rates?: Readonly<Record<string, FakeRates>>;
  readonly ledgerFile?: string;
  /** Of a request for the list of models, by the SHA-256 of its key; default 200. */
  readonly pingStatus?: (key: string) => number;
}

export interface FakeProvider {
  readonly url: string;
  readonly anthropicBaseUrl: string;
  readonly openaiBaseUrl: string;
  /** Every request in the order of arrival; entries change until `finishedAt` is set. */
  readonly ledger: readonly LedgerEntry[];
  /** Requests for the list of models. */
  readonly pings: readonly FakePing[];
  stop(): Promise<void>;
}

const MODELS = '/v1/models';
const APIS: readonly WireApi[] = [anthropicApi, openaiApi];

export const startFakeProvider = async (options: FakeProviderOptions = {}): Promise<FakeProvider> => {
  const rates = { ...KNOWN_RATES, ...options.rates };
  const ledger = createLedger(rates, options.ledgerFile ?? null, () => Date.now());
  const pings: FakePing[] = [];
  const answering = new Set<Promise<void>>();
  const server = createServer((req, res) => {
    handle(req, res, { ledger, pings, options, answering }).catch(() => void res.destroy());
  });
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject);
    server.listen(options.port ?? 0, '127.0.0.1', resolve);
  });
  const { port } = server.address() as AddressInfo;
  const url = `http://127.0.0.1:${port}`;
  return {
    url,
    anthropicBaseUrl: url,
    openaiBaseUrl: `${url}/v1`,
    ledger: ledger.entries,
    pings,
    stop: async () => {
      const closed = new Promise((resolve) => server.close(resolve));
      server.closeAllConnections();
      await closed;
      // Not for a test's own `behave`: when the test has failed, nobody lets it go on.
      await Promise.allSettled(answering);
      ledger.end();
    },
  };
};

interface Context {
  readonly ledger: Ledger;
  readonly pings: FakePing[];
  readonly options: FakeProviderOptions;
  /** Answers on their way out. */
  readonly answering: Set<Promise<void>>;
}

const handle = async (
  req: IncomingMessage,
  res: ServerResponse,
  { ledger, pings, options, answering }: Context,
): Promise<void> => {
  if (req.method === 'GET' && req.url?.split('?')[0] === MODELS) {
    const key = keyOf(req);
    const status = key === null ? 401 : (options.pingStatus?.(key) ?? 200);
    if (key !== null) pings.push({ key, status });
    return json(res, status, status === 200 ? { data: [] } : { error: { message: 'no such key' } });
  }
  const api = APIS.find(({ path }) => path === req.url?.split('?')[0]);
  if (api === undefined || req.method !== 'POST') {
    json(res, 404, { error: { message: 'not found' } });
    return;
  }
  const body: unknown = JSON.parse(await readText(req));
  const { authorization: _, 'x-api-key': __, ...headers } = req.headers;
  const key = keyOf(req);
  const read = api.read(body);
  if (key === null) return json(res, 401, api.error(401, 'no key'));
  if (typeof read === 'string') return json(res, 400, api.error(400, read));

  const request: FakeRequest = {
    ...read,
    id: randomUUID().slice(0, 13),
    body,
    key,
    headers: flat(headers),
  };
  const chosen = (await options.behave?.(request)) ?? defaultReply(request, options.script ?? null);
  const answered = bill(ledger, api, request, { res, reply: resolveReply(request, chosen) });
  answering.add(answered);
  await answered.finally(() => answering.delete(answered));
};

/** Sends the reply, with its entry in the books. */
const bill = async (
  ledger: Ledger,
  api: WireApi,
  request: FakeRequest,
  { res, reply }: { res: ServerResponse; reply: ResolvedReply },
): Promise<void> => {
  const entry = ledger.open(request, reply);
  const out: Outgoing = { res, sentBytes: 0, broken: false };
  const whole = await answer(api, request, reply, out);
  entry.aborted = !whole;
  entry.closedByClient = !whole && !out.broken;
  ledger.close(entry, { sentBytes: out.sentBytes, reply, whole });
};

/** SHA-256 of the API key, in either form; null: there is none. */
const keyOf = ({ headers }: IncomingMessage): string | null => {
  const key = headers['x-api-key'] ?? headers.authorization?.replace(/^Bearer /, '');
  return typeof key === 'string' && key !== '' ? sha256Hex(key) : null;
};

/** One reply on its way out: how much of the answer left, and whether we cut it ourselves. */
interface Outgoing {
  readonly res: ServerResponse;
  sentBytes: number;
  broken: boolean;
}

/** Sends the reply; false if it did not go out whole. */
const answer = async (
  api: WireApi,
  request: FakeRequest,
  reply: ResolvedReply,
  out: Outgoing,
): Promise<boolean> => {
  const { res } = out;
  const gone = new AbortController();
  res.once('close', () => gone.abort()).on('error', () => gone.abort());
  const status = reply.status ?? 200;
  const streamed = request.stream && reply.json !== true && status < 400;
  // Only a stream can hold arguments that are no JSON.
  const whole = () =>
    status < 400 ? api.whole(request, reply) : (reply.errorBody ?? api.error(status, reply.text));
  const events = streamed ? api.events(request, reply) : [{ text: JSON.stringify(whole()), outputBytes: 0 }];
  try {
    await pause(reply.delayMs, gone.signal);
    res.writeHead(status, {
      'content-type': streamed ? 'text/event-stream; charset=utf-8' : 'application/json',
      'request-id': `req_${request.id}`,
      'x-request-id': `req_${request.id}`,
      ...reply.headers,
    });
    res.flushHeaders();
    let left = reply.breakAfterBytes ?? Number.POSITIVE_INFINITY;
    for (const [n, { text, outputBytes }] of events.entries()) {
      if (n > 0) await pause(reply.chunkDelayMs, gone.signal);
      left = await write(res, Buffer.from(text), { left, split: reply.splitBytes });
      gone.signal.throwIfAborted();
      if (left <= 0) {
        out.broken = true;
        res.socket?.destroy();
        return false;
      }
      out.sentBytes += outputBytes;
    }
    // The answer is out; a client may hang up on seeing its end mark, before the end of the body.
    res.end();
    return true;
  } catch (error) {
    if (gone.signal.aborted) return false;
    throw error;
  }
};

/** Writes at most `left` bytes in pieces, each flushed on its own; returns what is left. */
const write = async (
  res: ServerResponse,
  bytes: Buffer,
  { left, split = bytes.length }: { left: number; split?: number | undefined },
): Promise<number> => {
  const allowed = bytes.subarray(0, Math.min(bytes.length, left));
  for (let at = 0; at < allowed.length && !res.destroyed; at += split) {
    await written(res, allowed.subarray(at, at + split));
    if (split < bytes.length) await setImmediate();
  }
  return left - bytes.length;
};

/** A connection that goes away may never call back. */
const written = (res: ServerResponse, piece: Buffer): Promise<void> =>
  new Promise((resolve) => {
    const done = (): void => {
      res.off('close', done);
      resolve();
    };
    res.once('close', done).write(piece, done);
  });

const pause = async (ms: number | undefined, signal: AbortSignal): Promise<void> => {
  signal.throwIfAborted();
  if (ms !== undefined && ms > 0) await sleep(ms, undefined, { signal });
};

const json = (res: ServerResponse, status: number, body: unknown): void => {
  res.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
};

const flat = (headers: IncomingMessage['headers']): Record<string, string> =>
  Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));

/**
 * Clients that submit runs without a pause, each in its own way: one follows the stream and resumes it, one waits, one
 * polls, one aborts. They keep books of every answer; what a client may see is a wanted status, or 503 with
 * Retry-After, after which it sends the same again.
 */
import { setTimeout as sleep } from 'node:timers/promises';
import { messageOf } from '@signalbox/runtime';
import type { Answer, ApiClient, RequestOptions } from './client.ts';
import { frames, StreamRefused } from './sse-reader.ts';
import { taggedAgent } from './stack.ts';

export interface LoadBooks {
  requests: number;
  /** 503 with Retry-After. */
  unavailable: number;
  /** Streams that ended before their run did, and were resumed. */
  resumed: number;
  /** Whatever else a client saw that it should not. */
  readonly faults: string[];
  /** Run by the tag of its agent. */
  readonly runOfTag: Map<string, string>;
  /** Runs whose abort was accepted. */
  readonly aborted: Set<string>;
}

export interface LoadOptions {
  readonly clients: number;
  readonly random: () => number;
}

export interface Load {
  readonly books: LoadBooks;
  /** No new runs; resolves when those under way have ended. */
  stop(): Promise<void>;
}

const ENDED = ['succeeded', 'failed', 'aborted'];
const CALL_MS = 350;

/** Model calls with a tool between them. */
const script = (calls: number, callMs: number): string =>
  JSON.stringify({
    turns: Array.from({ length: calls }, (_, n) =>
      n === calls - 1
        ? { delay_ms: callMs, text: 'done' }
        : {
            delay_ms: callMs,
            tool_calls: [{ name: 'calculator', arguments: { expression: `${n} + 1` } }],
          },
    ),
  });
const SHORT = script(3, CALL_MS);
/** Longer than an api takes to leave, so that streams and waits are cut. */
const LONG = script(8, 2 * CALL_MS);

interface Client {
  readonly api: ApiClient;
  readonly books: LoadBooks;
  readonly random: () => number;
}

const send = async (
  { api, books }: Client,
  path: string,
  { wanted, ...options }: RequestOptions & { readonly wanted: readonly number[] },
): Promise<Answer> => {
  for (;;) {
    books.requests += 1;
    const answer = await api.request(path, options);
    const retryAfter = Number(answer.headers.get('retry-after'));
    if (answer.status === 503 && retryAfter > 0) {
      books.unavailable += 1;
      await sleep(retryAfter * 1000);
      continue;
    }
    if (wanted.includes(answer.status)) return answer;
    throw new Error(`${path}: ${answer.status} ${JSON.stringify(answer.json)}`);
  }
};

const until = async (client: Client, runId: string, query: string, pauseMs: number): Promise<void> => {
  for (;;) {
    const { json } = await send(client, `/v1/runs/${runId}${query}`, { wanted: [200] });
    if (ENDED.includes(String(json['status']))) return;
    await sleep(pauseMs);
  }
};

/** Every event once and in order, over as many streams as it takes. */
const follow = async (client: Client, runId: string): Promise<void> => {
  const { api, books } = client;
  for (let seq = 0; ; ) {
    books.requests += 1;
    try {
      const lastEventId = seq === 0 ? undefined : String(seq);
      for await (const { id, event } of frames(api, { runId, lastEventId })) {
        if (event === 'end') return;
        if (id === null) continue;
        if (Number(id) !== seq + 1) throw new Error(`events of ${runId}: ${id} after ${seq}`);
        seq += 1;
      }
      books.resumed += 1;
      await sleep(200);
    } catch (error) {
      if (!(error instanceof StreamRefused && error.status === 503 && error.retryAfter > 0)) throw error;
      books.unavailable += 1;
      await sleep(error.retryAfter * 1000);
    }
  }
};

const abort = async (client: Client, runId: string): Promise<void> => {
  await sleep(client.random() * 4 * CALL_MS);
  const { status } = await send(client, `/v1/runs/${runId}/abort`, { wanted: [202, 409], body: {} });
  if (status === 202) client.books.aborted.add(runId);
  await until(client, runId, '?wait=5', 0);
};

interface Way {
  readonly input: string;
  readonly attend: (client: Client, runId: string) => Promise<void>;
}

const FOLLOW: Way = { input: LONG, attend: follow };
const WAYS: readonly Way[] = [
  FOLLOW,
  { input: LONG, attend: (client, runId) => until(client, runId, '?wait=20', 0) },
  { input: SHORT, attend: (client, runId) => until(client, runId, '', 150) },
  { input: SHORT, attend: abort },
];

const submit = async (client: Client, tag: string, input: string): Promise<string> => {
  const { json } = await send(client, '/v1/runs', {
    wanted: [202, 200],
    headers: { 'idempotency-key': tag },
    body: { agent: taggedAgent(tag), input, user_id: `user-${tag.split('.')[0]}` },
  });
  const id = String(json['id']);
  client.books.runOfTag.set(tag, id);
  return id;
};

export const startLoad = (api: ApiClient, { clients, random }: LoadOptions): Load => {
  const books: LoadBooks = {
    requests: 0,
    unavailable: 0,
    resumed: 0,
    faults: [],
    runOfTag: new Map(),
    aborted: new Set(),
  };
  const client: Client = { api, books, random };
  const stopping = new AbortController();
  const work = async (n: number): Promise<void> => {
    const { input, attend } = WAYS[n % WAYS.length] ?? FOLLOW;
    for (let run = 0; !stopping.signal.aborted; run += 1) {
      try {
        await attend(client, await submit(client, `c${n}.${run}`, input));
      } catch (error) {
        const cause =
          error instanceof Error && error.cause instanceof Error ? ` (${error.cause.message})` : '';
        books.faults.push(`client ${n}: ${messageOf(error)}${cause}`);
        return;
      }
    }
  };
  const working = Array.from({ length: clients }, (_, n) => work(n));
  return {
    books,
    stop: async () => {
      stopping.abort();
      await Promise.all(working);
    },
  };
};

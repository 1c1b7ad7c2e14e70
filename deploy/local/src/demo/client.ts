/** The api as the demo uses it: plain fetch, with the parts of the answers that it shows. */
import { ExpectationError } from './show.ts';

export interface Run {
  readonly id: string;
  readonly status: string;
  readonly error: { readonly code: string; readonly message: string } | null;
  readonly output: string | null;
  readonly steps: number;
  readonly epoch: number;
  readonly usage: { readonly input_tokens: number; readonly output_tokens: number };
  readonly cost: {
    readonly cap_usd: number | null;
    readonly observed_usd: number;
    readonly held_usd: number;
    readonly estimated: boolean;
  };
}

export interface RunEvent {
  readonly seq: number;
  readonly epoch: number;
  readonly type: string;
  readonly data: Readonly<Record<string, unknown>>;
  readonly hash: string;
}

export interface Step {
  readonly index: number;
  readonly kind: 'llm' | 'tool';
  readonly name: string;
  readonly attempts: number;
  readonly input: unknown;
  readonly output: unknown;
}

/** One message of the event stream; `delta` is text as it is generated and no part of the journal. */
export type StreamItem =
  | { readonly kind: 'event'; readonly event: RunEvent }
  | { readonly kind: 'delta'; readonly step: number; readonly text: string };

export interface Client {
  call<T>(method: string, path: string, body?: unknown): Promise<T>;
  submit(body: object): Promise<Run>;
  run(id: string): Promise<Run>;
  steps(id: string): Promise<readonly Step[]>;
  /** Every event from the first to the last, as they come; throws when they take longer than a minute. */
  follow(id: string): AsyncGenerator<StreamItem>;
}

const CALL_MS = 15_000;
const FOLLOW_MS = 60_000;

async function failure(response: Response, what: string): Promise<ExpectationError> {
  return new ExpectationError(
    `${what} answered ${response.status}: ${(await response.text()).slice(0, 500)}`,
  );
}

/** The messages of a text/event-stream: `event` and `data` of each. */
async function* messages(body: ReadableStream<Uint8Array>): AsyncGenerator<{ event: string; data: string }> {
  const decoder = new TextDecoder();
  let buffered = '';
  for await (const chunk of body as AsyncIterable<Uint8Array>) {
    buffered += decoder.decode(chunk, { stream: true });
    const blocks = buffered.split('\n\n');
    buffered = blocks.pop() ?? '';
    for (const block of blocks) {
      const fields = new Map(
        block.split('\n').map((row) => {
          const colon = row.indexOf(':');
          return [row.slice(0, colon), row.slice(colon + 1).trimStart()] as const;
        }),
      );
      const data = fields.get('data');
      if (data !== undefined) yield { event: fields.get('event') ?? 'message', data };
    }
  }
}

export function createClient(apiUrl: string, apiKey: string): Client {
  const headers = { authorization: `Bearer ${apiKey}` };

  const call = async <T>(method: string, path: string, body?: unknown): Promise<T> => {
    const response = await fetch(`${apiUrl}${path}`, {
      method,
      headers: body === undefined ? headers : { ...headers, 'content-type': 'application/json' },
      signal: AbortSignal.timeout(CALL_MS),
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    if (!response.ok) throw await failure(response, `${method} ${path}`);
    return (await response.json()) as T;
  };

  const follow = async function* (id: string): AsyncGenerator<StreamItem> {
    const response = await fetch(`${apiUrl}/v1/runs/${id}/events`, {
      headers: { ...headers, accept: 'text/event-stream' },
      signal: AbortSignal.timeout(FOLLOW_MS),
    });
    if (!response.ok || response.body === null) throw await failure(response, `the event stream of ${id}`);
    for await (const { event, data } of messages(response.body)) {
      if (event === 'end') return;
      if (event === 'delta') yield { kind: 'delta', ...(JSON.parse(data) as { step: number; text: string }) };
      else yield { kind: 'event', event: JSON.parse(data) as RunEvent };
    }
    throw new ExpectationError(`The event stream of ${id} closed before its end.`);
  };

  return {
    call,
    submit: (body) => call<Run>('POST', '/v1/runs', body),
    run: (id) => call<Run>('GET', `/v1/runs/${id}`),
    steps: async (id) => (await call<{ data: readonly Step[] }>('GET', `/v1/runs/${id}/steps`)).data,
    follow,
  };
}

import { Run } from '@signalbox/contracts';
import { waitFor } from '@signalbox/local';

/** The api as a backend service would use it. Each call is one request; retries are the test's business. */
export interface ApiClient {
  readonly url: string;
  readonly key: string;
  request(path: string, init?: RequestOptions): Promise<Answer>;
  /** Throws unless it was taken. */
  submit(body: object, headers?: Record<string, string>): Promise<Run>;
  run(id: string): Promise<Run>;
  /** Waits until the run has ended. */
  end(id: string, timeoutMs?: number): Promise<Run>;
  events(id: string): Promise<EventJson[]>;
}

export interface RequestOptions {
  readonly method?: string;
  readonly headers?: Readonly<Record<string, string>>;
  /** An object is sent as JSON, a text as it is. */
  readonly body?: object | string;
}

export interface Answer {
  readonly status: number;
  readonly headers: Headers;
  readonly json: Record<string, unknown>;
}

export interface EventJson {
  readonly seq: number;
  readonly epoch: number;
  readonly type: string;
  readonly ts: string;
  readonly hash: string;
  readonly prev: string;
  readonly data: Readonly<Record<string, unknown>>;
}

const ENDED = ['succeeded', 'failed', 'aborted'];
const REQUEST_MS = 65_000;

const parse = (text: string): Record<string, unknown> => {
  try {
    return JSON.parse(text) as Record<string, unknown>;
  } catch {
    return { text };
  }
};

const requester =
  (url: string, key: string, timeoutMs: number): ApiClient['request'] =>
  async (path, { method, headers = {}, body } = {}) => {
    const response = await fetch(`${url}${path}`, {
      method: method ?? (body === undefined ? 'GET' : 'POST'),
      headers: {
        ...(key === '' ? {} : { authorization: `Bearer ${key}` }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      },
      signal: AbortSignal.timeout(timeoutMs),
      ...(body === undefined ? {} : { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    return { status: response.status, headers: response.headers, json: parse(await response.text()) };
  };

export const createClient = (
  url: string,
  key: string,
  { timeoutMs = REQUEST_MS }: { readonly timeoutMs?: number } = {},
): ApiClient => {
  const request = requester(url, key, timeoutMs);
  const runFrom = (what: string, expected: number[], { status, json }: Answer): Run => {
    if (!expected.includes(status)) throw new Error(`${what}: ${status} ${JSON.stringify(json)}`);
    return Run.parse(json);
  };
  const run = async (id: string, wait = 0): Promise<Run> =>
    runFrom(`run ${id}`, [200], await request(`/v1/runs/${id}${wait > 0 ? `?wait=${wait}` : ''}`));
  return {
    url,
    key,
    request,
    submit: async (body, headers = {}) =>
      runFrom('submit', [202, 200], await request('/v1/runs', { body, headers })),
    run: (id) => run(id),
    end: (id, timeoutMs = 60_000) =>
      waitFor(
        async () => {
          const found = await run(id, 5);
          return ENDED.includes(found.status) ? found : undefined;
        },
        { what: `run ${id} to end`, timeoutMs },
      ),
    events: async (id) => {
      const { status, json } = await request(`/v1/runs/${id}/events`);
      if (status !== 200) throw new Error(`events of ${id}: ${status} ${JSON.stringify(json)}`);
      return json['data'] as EventJson[];
    },
  };
};

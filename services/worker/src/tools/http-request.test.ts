import assert from 'node:assert/strict';
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { after, before, describe, test } from 'node:test';
import { text as readText } from 'node:stream/consumers';
import { systemClock } from '@signalbox/runtime';
import { httpRequest, type HttpToolOptions } from './http-request.ts';
import { ToolError } from './tool.ts';

type Handler = (request: IncomingMessage, response: ServerResponse) => void;

const serve = async (handler: Handler, host = '127.0.0.1') => {
  const server = createServer(handler);
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  const { port } = server.address() as AddressInfo;
  return {
    port,
    close: () => {
      server.closeAllConnections();
      return new Promise((resolve) => server.close(resolve));
    },
  };
};

interface Seen {
  readonly method: string;
  readonly url: string;
  readonly headers: IncomingMessage['headers'];
  readonly body: string;
}

const seen: Seen[] = [];
let onHangUp = (): void => undefined;
let ports = { main: 0, other: 0 };
const servers: { close(): Promise<unknown> }[] = [];

/** As it goes over the wire: Node's server would not write it. */
const switching =
  (...headers: readonly string[]): Handler =>
  ({ socket }) => {
    socket.once('close', () => onHangUp());
    socket.write(['HTTP/1.1 101 Switching Protocols', ...headers, '', ''].join('\r\n'));
  };

const to =
  (status: number): Handler =>
  (_, response) =>
    void response.writeHead(status, { location: '/got' }).end();

const CHARSETS = [
  ['ISO-8859-1', 'latin1'],
  ['"windows-1252"; x=1', 'latin1'],
  ['utf-16le', 'utf16le'],
  ['utf-8', 'utf8'],
  ['no-such', 'utf8'],
] as const;

const answers: Record<string, Handler> = {
  '/upgrade': switching('Connection: Upgrade', 'Upgrade: websocket'),
  '/upgrade-bare': switching(),
  ...Object.fromEntries([300, 301, 302, 303, 304, 305, 306, 307, 308].map((s) => [`/to-${s}`, to(s)])),
  ...Object.fromEntries(
    CHARSETS.map(([charset, encoding], index): [string, Handler] => [
      `/spelled-${index}`,
      (_, response) => {
        response.setHeader('content-type', `text/html; charset=${charset}`);
        response.end(Buffer.from('Zoë', encoding));
      },
    ]),
  ),
  '/big': (_, response) => void response.end('x'.repeat(2_000_000)),
  '/hang': (_, response) => {
    response.flushHeaders();
    response.on('close', () => onHangUp());
  },
  '/loop': (_, response) => void response.writeHead(302, { location: '/loop' }).end(),
  '/to-other': (_, response) =>
    void response.writeHead(302, { location: `http://127.0.0.1:${ports.other}/got` }).end(),
  '/keep-other': (_, response) =>
    void response.writeHead(307, { location: `http://127.0.0.1:${ports.other}/got` }).end(),
  '/to-file': (_, response) => void response.writeHead(302, { location: 'file:///etc/passwd' }).end(),
  '/to-nowhere': (_, response) => void response.writeHead(302, { location: 'http://' }).end(),
};

const handle = async (request: IncomingMessage, response: ServerResponse): Promise<void> => {
  const { method = '', url = '', headers } = request;
  seen.push({ method, url, headers, body: await readText(request) });
  const answer = answers[url];
  if (answer !== undefined) return answer(request, response);
  response.writeHead(200, { 'content-type': 'text/plain' }).end(`${method} ${url}`);
};

before(async () => {
  const [main, other] = [await serve((...a) => void handle(...a)), await serve((...a) => void handle(...a))];
  servers.push(main, other);
  ports = { main: main.port, other: other.port };
});
after(() => Promise.all(servers.map((server) => server.close())));

const tool = (allow: readonly string[], options: Partial<HttpToolOptions> = {}) =>
  httpRequest({ allow, ...options });
const at = (path: string, port = ports.main): string => `http://127.0.0.1:${port}${path}`;
const listed = (port = ports.main): string => `127.0.0.1:${port}`;

const run = (
  used: ReturnType<typeof tool>,
  args: Record<string, unknown>,
  signal: AbortSignal = new AbortController().signal,
): Promise<string> =>
  used.execute(used.parameters.parse(args), { signal, idempotencyKey: 'run_1:2:call_1', clock: systemClock });
const refused = (message: RegExp) => (error: unknown) =>
  error instanceof ToolError && error.code === 'tool_error' && message.test(error.message);

describe('http_request', () => {
  test('reads text as the server says that it is spelled', async () => {
    for (const [index, [charset]] of CHARSETS.entries()) {
      const told = await run(tool([listed()]), { url: at(`/spelled-${index}`) });
      assert.equal(told, `HTTP 200 (text/html; charset=${charset})\nZoë`);
    }
  });

  test('sends the request with its idempotency key and returns status, type and body', async () => {
    const told = await run(tool([listed()]), {
      method: 'POST',
      url: at('/a?b=1'),
      headers: { 'X-A': '1' },
      body: 'hi',
    });
    assert.equal(told, 'HTTP 200 (text/plain)\nPOST /a?b=1');
    const last = seen.at(-1);
    assert.deepEqual(
      [last?.method, last?.body, last?.headers['x-a'], last?.headers['idempotency-key']],
      ['POST', 'hi', '1', 'run_1:2:call_1'],
    );
  });

  test('every method may have a body, and it is framed: nothing of it is taken for a request of its own', async () => {
    for (const method of ['POST', 'PUT', 'PATCH', 'DELETE']) {
      const before = seen.length;
      await run(tool([listed()]), {
        method,
        url: at('/framed'),
        body: 'GET /smuggled HTTP/1.1\r\n\r\ngrüße',
      });
      await run(tool([listed()]), { method, url: at('/bare') });
      assert.deepEqual(
        seen.slice(before).map(({ method: got, url, body }) => [got, url, body]),
        [
          [method, '/framed', 'GET /smuggled HTTP/1.1\r\n\r\ngrüße'],
          [method, '/bare', ''],
        ],
      );
    }
  });

  test('the model cannot set what is ours to set', async () => {
    const headers = { Host: 'evil', 'Idempotency-Key': 'mine', 'Content-Length': '999', Connection: 'close' };
    await run(tool([listed()]), { url: at('/'), headers });
    const last = seen.at(-1)?.headers;
    assert.deepEqual([last?.host, last?.['idempotency-key']], [listed(), 'run_1:2:call_1']);
    await assert.rejects(
      run(tool([listed()]), { url: at('/'), headers: { 'bad name': 'x' } }),
      (error) => error instanceof ToolError && error.code === 'invalid_arguments',
    );
  });

  test('only a listed host and port is reached', async () => {
    const before = seen.length;
    const off = /not in the operator's list/;
    await assert.rejects(run(tool([]), { url: at('/') }), refused(off));
    await assert.rejects(run(tool([listed(ports.other)]), { url: at('/') }), refused(off));
    await assert.rejects(run(tool([listed()]), { url: `http://localhost:${ports.main}/` }), refused(off));
    await assert.rejects(
      run(tool([listed()]), { url: `http://127.0.0.1.evil.test:${ports.main}/` }),
      refused(off),
    );
    await assert.rejects(
      run(tool([`a.test:${ports.main}`]), { url: `http://a.test@127.0.0.1:${ports.main}/` }),
      refused(off),
    );
    assert.equal(seen.length, before);
    assert.match(await run(tool(['127.0.0.1']), { url: at('/any-port') }), /any-port/);
  });

  test('a name that leads to a private address is refused, however it is written', async () => {
    const before = seen.length;
    for (const address of [
      '127.0.0.1',
      '10.0.0.1',
      '169.254.169.254',
      '::1',
      '::ffff:127.0.0.1',
      'fd00::1',
      '0.0.0.0',
    ]) {
      const used = tool([`inside.test:${ports.main}`], { resolve: async () => ['93.184.216.34', address] });
      await assert.rejects(
        run(used, { url: `http://inside.test:${ports.main}/` }),
        refused(/private address/),
        address,
      );
    }
    const nowhere = tool(['gone.test'], { resolve: () => Promise.reject(new Error('ENOTFOUND')) });
    await assert.rejects(run(nowhere, { url: 'http://gone.test/' }), refused(/could not be found/));
    assert.equal(seen.length, before);
  });

  // Elsewhere only 127.0.0.1 is there.
  const linux = { skip: process.platform !== 'linux' };
  test(
    'a name is looked up once, and the address that was checked is the one connected to',
    linux,
    async () => {
      const elsewhere = await serve((_, response) => void response.end('elsewhere'), '127.0.0.9');
      servers.unshift(elsewhere);
      const asked: string[] = [];
      const used = tool([`localhost:${elsewhere.port}`], {
        resolve: async (host) => {
          asked.push(host);
          return ['127.0.0.9'];
        },
      });
      assert.match(await run(used, { url: `http://localhost:${elsewhere.port}/` }), /elsewhere$/);
      assert.deepEqual(asked, ['localhost']);
    },
  );

  test('a private address in another notation is the address it stands for', async () => {
    await assert.rejects(
      run(tool(['inside.test']), { url: `http://2130706433:${ports.main}/` }),
      refused(/not in the/),
    );
    assert.match(await run(tool([listed()]), { url: `http://2130706433:${ports.main}/n` }), /GET \/n/);
  });

  test('a redirect is followed on the list and refused off it', async () => {
    assert.match(await run(tool([listed(), listed(ports.other)]), { url: at('/to-other') }), /GET \/got/);
    const before = seen.length;
    await assert.rejects(
      run(tool([listed()]), { url: at('/to-other') }),
      refused(/not in the operator's list/),
    );
    await assert.rejects(run(tool([listed()]), { url: at('/to-file') }), refused(/not in the/));
    await assert.rejects(run(tool([listed()]), { url: at('/to-nowhere') }), refused(/no address/));
    await assert.rejects(run(tool([listed()]), { url: at('/loop') }), refused(/more than 5 times/));
    assert.ok(seen.slice(before).every(({ url }) => url !== '/got'));
  });

  test('only what is a redirect is followed', async () => {
    for (const status of [301, 302, 303, 307, 308])
      assert.match(await run(tool([listed()]), { url: at(`/to-${status}`) }), /GET \/got$/, String(status));
    for (const status of [300, 304, 305, 306])
      assert.match(await run(tool([listed()]), { url: at(`/to-${status}`) }), new RegExp(`^HTTP ${status} `));
  });

  test('a change of protocol is an error at once, and its connection is closed', async () => {
    for (const path of ['/upgrade', '/upgrade-bare']) {
      const closed = new Promise<void>((resolve) => {
        onHangUp = resolve;
      });
      await assert.rejects(
        run(tool([listed()]), { url: at(path) }),
        refused(/another protocol \(HTTP 101\)/),
      );
      await closed;
    }
  });

  test('a redirect to another host carries nothing of what the model set, and its body only when it must', async () => {
    const both = tool([listed(), listed(ports.other)]);
    const args = {
      method: 'POST',
      body: 'b',
      headers: {
        Authorization: 'Bearer s',
        cookie: 'c=1',
        'X-Api-Key': 's',
        'Content-Type': 'text/x',
        accept: 'a/b',
      },
    };
    const set = (): unknown[] => {
      const {
        authorization,
        cookie,
        accept,
        'x-api-key': key,
        'content-type': type,
      } = seen.at(-1)?.headers ?? {};
      return [authorization, cookie, key, accept, type];
    };
    await run(both, { ...args, url: at('/to-other') });
    const got = seen.at(-1);
    assert.deepEqual([got?.method, got?.body], ['GET', '']);
    assert.deepEqual(set(), [undefined, undefined, undefined, '*/*', undefined]);
    assert.ok(got?.headers['idempotency-key']);
    await run(both, { ...args, url: at('/keep-other') });
    assert.deepEqual([seen.at(-1)?.method, seen.at(-1)?.body], ['POST', 'b']);
    assert.deepEqual(set(), [undefined, undefined, undefined, '*/*', 'text/x'], 'it says what the body is');
    await run(both, { ...args, url: at('/to-307') });
    assert.deepEqual(set(), ['Bearer s', 'c=1', 's', 'a/b', 'text/x'], 'the same host is sent all');
  });

  test('a large answer is cut', async () => {
    const told = await run(tool([listed()]), { url: at('/big') });
    assert.ok(told.length < 51_000);
    assert.match(told, /\[cut off\]$/);
  });

  test('an abort closes the connection', async () => {
    const stop = new AbortController();
    const before = seen.length;
    const closed = new Promise<void>((resolve) => {
      onHangUp = resolve;
    });
    const going = run(tool([listed()]), { url: at('/hang') }, stop.signal);
    while (seen.length === before) await new Promise((resolve) => setTimeout(resolve, 5));
    stop.abort();
    await assert.rejects(going, (error) => !(error instanceof ToolError));
    await closed;
  });

  test('what cannot be reached is told without the address of anything else', async () => {
    await servers.at(-1)?.close();
    await assert.rejects(
      run(tool([listed(ports.other)]), { url: at('/', ports.other) }),
      refused(/ECONNREFUSED/),
    );
  });

  test('only reading is safe to repeat', () => {
    const used = tool([]);
    const repeatable = (method: string) =>
      used.repeatable(used.parameters.parse({ method, url: 'http://a.test/' }));
    assert.deepEqual(['GET', 'HEAD', 'POST', 'PUT', 'PATCH', 'DELETE'].map(repeatable), [
      true,
      true,
      false,
      false,
      false,
      false,
    ]);
    for (const url of ['ftp://a.test/', 'file:///etc/passwd', 'nonsense', '']) {
      assert.equal(used.parameters.safeParse({ url }).success, false, url);
    }
  });
});

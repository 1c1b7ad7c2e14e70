import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { describe, test } from 'node:test';
import { readText } from './files.ts';

const command = JSON.parse(
  /^HEALTHCHECK .*\\\n {2}CMD (.*)$/m.exec(readText('deploy/Dockerfile'))?.[1] ?? '[]',
) as string[];

async function check(env: Readonly<Record<string, string>>): Promise<number> {
  const child = spawn(process.execPath, command.slice(1), { env, stdio: 'ignore' });
  const [code] = (await once(child, 'exit')) as [number];
  return code;
}

describe("the image's health check", () => {
  for (const [status, expected] of [
    [200, 0],
    [503, 1],
  ] as const) {
    test(`exits ${expected} when /healthz answers ${status}`, async (t) => {
      const server = createServer((request, response) => {
        response.writeHead(request.url === '/healthz' ? status : 404).end();
      }).listen(0, '127.0.0.1');
      t.after(() => server.close());
      await once(server, 'listening');
      const { port } = server.address() as AddressInfo;
      assert.equal(await check({ METRICS_PORT: String(port), PORT: '1' }), expected);
      assert.equal(await check({ METRICS_PORT: '1', PORT: String(port) }), expected);
    });
  }
});

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join, relative } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'node:test';
import { isAlive } from './pids.ts';
import { REPOSITORY, runToEnd, type ServiceOptions, startService } from './process.ts';
import { temporaryDir } from './test-services.ts';
import { waitFor } from './wait.ts';

const SERVICE = `
import { createServer } from 'node:http';
const server = createServer((request, response) => { response.statusCode = request.url === '/readyz' ? 200 : 404; response.end(); });
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ level: 'info', msg: 'listening', port: server.address().port })));
process.on('SIGTERM', () => { console.log(JSON.stringify({ msg: 'stopped' })); process.exit(0); });
`;

async function fixture(source: string): Promise<ServiceOptions> {
  const dir = await temporaryDir();
  const entry = join(dir, 'service.mjs');
  await writeFile(entry, source);
  return { name: 'fixture', entry: relative(REPOSITORY, entry), env: process.env, logDir: join(dir, 'logs') };
}

test('a service is ready at the port it logged, and stops by SIGTERM in good order', async () => {
  const service = await startService(await fixture(SERVICE));
  assert.equal((await fetch(`${service.url}/readyz`)).status, 200);
  assert.deepEqual(await service.stop(), { code: 0, signal: null });
  assert.match(readFileSync(service.logFile, 'utf8'), /"stopped"/);
  assert.deepEqual(await service.stop(), { code: 0, signal: null });
});

test('kill is SIGKILL, and works on a stopped process', async () => {
  const service = await startService(await fixture(SERVICE));
  service.signal('SIGSTOP');
  assert.deepEqual(await service.kill(), { code: null, signal: 'SIGKILL' });
});

test('a service that stops before it is ready fails with the end of its log', async () => {
  const options = await fixture(`console.error('REDIS_URL is missing'); process.exit(2);`);
  await assert.rejects(startService(options), /exit code 2[\s\S]*REDIS_URL is missing/);
  await assert.rejects(runToEnd(options), /exit code 2[\s\S]*REDIS_URL is missing/);
});

test('a stop that is not heeded becomes a kill', async () => {
  const service = await startService(
    await fixture(`${SERVICE} process.removeAllListeners('SIGTERM'); process.on('SIGTERM', () => {});`),
  );
  assert.deepEqual(await service.stop({ graceMs: 50 }), { code: null, signal: 'SIGKILL' });
});

test('no child outlives a parent that is killed', async () => {
  const options = await fixture(SERVICE);
  const parent = join(await temporaryDir(), 'parent.mjs');
  await writeFile(
    parent,
    `import { startService } from ${JSON.stringify(new URL('process.ts', import.meta.url).href)};
const service = await startService(${JSON.stringify({ ...options, env: {} })});
console.log(service.pid);
setInterval(() => {}, 1000);`,
  );
  const holder = spawn(process.execPath, [parent], { stdio: ['ignore', 'pipe', 'inherit'] });
  const [line] = (await once(createInterface({ input: holder.stdout }), 'line')) as [string];
  const pid = Number(line);
  assert.ok(isAlive(pid));
  holder.kill('SIGKILL');
  await waitFor(() => (isAlive(pid) ? undefined : true), { what: 'the child to end', timeoutMs: 60_000 });
});

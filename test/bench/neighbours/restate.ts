/**
 * W as a Restate handler: each model call and each tool call is a `ctx.run`, recorded in the server's log. The server
 * is a child of this process, and both have a network of their own: it would listen on fixed ports of every interface.
 */
import { spawn } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { createRequire } from 'node:module';
import { setTimeout as sleep } from 'node:timers/promises';
import { type Context, serve, service } from '@restatedev/restate-sdk';
import { offer } from '../offer.ts';
import { serveProgram } from '../program.ts';
import type { ProgramSettings } from '../subjects/program.ts';
import { MODEL_BYTES, prose, type Shape, TOOL_BYTES } from '../work.ts';

const [INGRESS, ADMIN, SERVICE] = [8080, 9070, 9080];
const START_MS = 60_000;

const run = async (context: Context, { steps, latencyMs }: Shape): Promise<number> => {
  for (let n = 0; n < steps; n += 1) {
    await context.run('model', async () => {
      if (latencyMs > 0) await sleep(latencyMs);
      return prose(MODEL_BYTES, n);
    });
    await context.run('tool', async () => prose(TOOL_BYTES, n));
  }
  return steps;
};

/** The package of this platform, which the server's own package depends on. */
const binary = (): string => {
  const require = createRequire(
    createRequire(import.meta.url).resolve('@restatedev/restate-server/package.json'),
  );
  return require.resolve(`@restatedev/restate-server-${process.platform}-${process.arch}/bin/restate-server`);
};

const agent = new Agent({ keepAlive: true });

const post = (port: number | undefined, path: string, body: object): Promise<number> =>
  new Promise((resolve, reject) => {
    const text = JSON.stringify(body);
    const headers = { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) };
    const sent = request({ agent, port, host: '127.0.0.1', path, method: 'POST', headers }, (response) => {
      response.resume();
      response.once('error', reject);
      response.once('end', () => resolve(response.statusCode ?? 0));
    });
    sent.once('error', reject);
    sent.end(text);
  });

const registered = async (): Promise<boolean> => {
  try {
    return (await post(ADMIN, '/deployments', { uri: `http://127.0.0.1:${SERVICE}` })) < 300;
  } catch {
    return false; // not listening yet
  }
};

const launch = async (dir: string): Promise<void> => {
  mkdirSync(dir, { recursive: true });
  const server = spawn(binary(), [], {
    cwd: dir,
    env: { ...process.env, RESTATE_BASE_DIR: dir, RUST_LOG: 'warn', DO_NOT_TRACK: '1' },
    stdio: 'inherit',
  });
  process.once('exit', () => server.kill('SIGKILL'));
  await serve({ services: [service({ name: 'bench', handlers: { run } })], port: SERVICE ?? 0 });
  const deadline = performance.now() + START_MS;
  while (!(await registered())) {
    if (performance.now() > deadline) throw new Error('The Restate server did not take the service.');
    await sleep(200);
  }
};

let launched: Promise<void> | undefined;

serveProgram<ProgramSettings>(async ({ load, settings }) => {
  await (launched ??= launch(settings.dir));
  return await offer(load, async () => {
    const status = await post(INGRESS, '/bench/run', load.shape);
    if (status !== 200) throw new Error(`Restate answered ${status}.`);
  });
});

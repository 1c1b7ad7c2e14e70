/**
 * `npm run demo`: starts the local stack with fresh data in `.signalbox/demo`, submits real runs over HTTP, shows what
 * they do, and stops everything. It asserts what it shows: exit code 1 with the first claim that does not hold.
 */
import { mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { createClient } from './src/demo/client.ts';
import { killedWorker } from './src/demo/killed-worker.ts';
import { orderAgent, orderScript, startOrderService } from './src/demo/orders.ts';
import { realModels, startScriptedProvider } from './src/demo/providers.ts';
import { readBack } from './src/demo/read-back.ts';
import { realProvider } from './src/demo/real-provider.ts';
import { ExpectationError, line, title } from './src/demo/show.ts';
import { threeSteps } from './src/demo/three-steps.ts';
import { lockDir } from './src/lock.ts';
import { REPOSITORY } from './src/process.ts';
import { type Stack, startStack } from './src/stack.ts';

const DIR = join(REPOSITORY, '.signalbox/demo');
/** How soon a silent worker loses its runs: short, so that the demo need not wait for it. */
const LEASE_SECONDS = '5';
const AGENT = 'order-desk';

const secondsSince = (start: number): string => `${((performance.now() - start) / 1000).toFixed(1)} s`;

/** All but the secrets, which a REDIS_URL or DATABASE_URL that is used again still needs. */
async function freshData(): Promise<void> {
  const unlock = await lockDir(DIR);
  for (const name of ['redis', 'postgres', 'logs', 'provider']) {
    rmSync(join(DIR, name), { recursive: true, force: true });
  }
  mkdirSync(join(DIR, 'provider'));
  unlock();
}

type Stop = () => Promise<void>;

async function demo(stops: Stop[]): Promise<void> {
  await freshData();
  const orders = await startOrderService();
  stops.push(() => orders.stop());
  const provider = await startScriptedProvider(join(DIR, 'provider'), orderScript(orders.host), process.env);
  stops.push(() => provider.stop());

  const starting = performance.now();
  const env = { ...provider.env, HTTP_TOOL_ALLOW: orders.host, LEASE_SECONDS };
  const stack: Stack = await startStack({ dir: DIR, env });
  stops.push(() => stack.stop());
  title(`Signalbox runs (started in ${secondsSince(starting)}; data and logs in ${DIR}).`);
  line(`api ${stack.apiUrl}, scheduler, audit-writer, ${stack.workers.length} workers, Redis, Postgres`);
  line(
    `A scripted provider at ${provider.url} stands in for ${provider.model}: real HTTP, real prices, no real money.`,
  );

  const client = createClient(stack.apiUrl, stack.apiKey);
  await client.call('PUT', `/v1/agents/${AGENT}`, orderAgent(provider.model, orders.host));
  const parts = { client, provider, orders, agent: AGENT };

  title('1. A run: three model calls, two tool calls');
  const shown = await threeSteps(parts);
  title('2. The same run, read back from Postgres with SQL');
  await readBack(stack.databaseUrl, shown);
  title('3. A worker is killed in the middle of a run');
  await killedWorker(stack, parts);
  title('4. A real provider');
  await realProvider(client, realModels(process.env), orders.host);
}

/** In the reverse order of starting; each is tried. */
async function stopAll(stops: Stop[]): Promise<void> {
  for (let stop = stops.pop(); stop !== undefined; stop = stops.pop()) {
    await stop().catch((error: unknown) => {
      console.error(error);
      process.exitCode = 1;
    });
  }
}

const started = performance.now();
const stops: Stop[] = [];
try {
  await demo(stops);
} catch (error) {
  process.exitCode = 1;
  // What we throw ourselves says what to do; of anything else the place matters.
  const ours = error instanceof ExpectationError || (error instanceof Error && error.constructor === Error);
  console.error('\nThe demo failed.');
  console.error(ours ? error.message : error);
  console.error(`Logs: ${join(DIR, 'logs')}`);
}
await stopAll(stops);
title(`Everything is stopped (${secondsSince(started)} in all). Exit code ${process.exitCode ?? 0}.`);

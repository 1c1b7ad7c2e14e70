/** `npm run dev`: the local stack, kept running until Ctrl-C. All data in `.signalbox/`. */
import { join } from 'node:path';
import { REPOSITORY } from './src/process.ts';
import { startStack } from './src/stack.ts';

const started = performance.now();
const stack = await startStack({ dir: join(REPOSITORY, '.signalbox'), checkpoints: true }).catch(
  (error: unknown) => {
    console.error(error instanceof Error ? error.message : error);
    process.exit(1);
  },
);
const seconds = ((performance.now() - started) / 1000).toFixed(1);

console.log(`
Signalbox runs (started in ${seconds} s).

  api        ${stack.apiUrl}   docs ${stack.apiUrl}/docs   metrics ${stack.apiUrl}/metrics
  API key    ${stack.apiKey}
  scheduler  ${stack.scheduler.url}/metrics
  writer     ${stack.auditWriter.url}/metrics
${stack.workers.map((worker) => `  ${worker.name}   ${worker.url}/metrics`).join('\n')}
  Redis      ${stack.redisUrl}
  Postgres   ${stack.databaseUrl}
  logs       ${stack.logDir}

Try:
  curl -s '${stack.apiUrl}/v1/runs' -H 'Authorization: Bearer ${stack.apiKey}' -H 'Content-Type: application/json' \\
    -d '{"agent": {"instructions": "Answer.", "model": "mock/echo"}, "input": "hello", "user_id": "u1"}'

Ctrl-C stops everything.
`);

const stopSignal = new Promise<string>((resolve) => {
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, resolve);
});
const services = [stack.api, stack.scheduler, stack.auditWriter, ...stack.workers];
const keepAlive = setInterval(() => undefined, 60_000); // the children alone do not keep this process running
const ended = await Promise.race([
  stopSignal.then(() => undefined),
  ...services.map((service) => service.exited.then((exit) => ({ service, exit }))),
]);
clearInterval(keepAlive);
if (ended === undefined) {
  console.log('\nStopping ...');
} else {
  console.error(
    `${ended.service.name} stopped by itself (${ended.exit.signal ?? `exit code ${ended.exit.code}`}); see ${ended.service.logFile}. Stopping the rest ...`,
  );
  process.exitCode = 1;
}
await stack.stop();
console.log('Stopped.');

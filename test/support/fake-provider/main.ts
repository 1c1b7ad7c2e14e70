/**
 * The fake provider as its own process:
 *
 *     node test/support/fake-provider/main.ts [--port N] [--ledger FILE] [--script FILE]
 *
 * Prints one JSON line `{url, anthropicBaseUrl, openaiBaseUrl}` once it listens; SIGTERM or SIGINT ends it.
 */
import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { MockScript } from '@signalbox/providers';
import { startFakeProvider } from './fake-provider.ts';

const { values } = parseArgs({
  options: { port: { type: 'string' }, ledger: { type: 'string' }, script: { type: 'string' } },
});

const fake = await startFakeProvider({
  port: Number(values.port ?? 0),
  ...(values.ledger === undefined ? {} : { ledgerFile: values.ledger }),
  ...(values.script === undefined
    ? {}
    : { script: MockScript.parse(JSON.parse(readFileSync(values.script, 'utf8'))) }),
});

const { url, anthropicBaseUrl, openaiBaseUrl } = fake;
process.stdout.write(`${JSON.stringify({ url, anthropicBaseUrl, openaiBaseUrl })}\n`);

for (const signal of ['SIGTERM', 'SIGINT'] as const) process.once(signal, () => void fake.stop());

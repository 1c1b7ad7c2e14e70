/** The fake provider as its own process: it plays scripts, and its books outlive it. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { it } from 'node:test';
import { readLedger, totalNano } from '../support/fake-provider/index.ts';
import { ask, HAIKU, MINI, modelsAt, requestTo } from './calls.ts';

it('writes every request to the ledger file, even when killed', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'fake-provider-'));
  const [script, ledger] = [join(dir, 'script.json'), join(dir, 'ledger.ndjson')];
  writeFileSync(
    script,
    JSON.stringify({ turns: [{ text: 'hi', usage: { input_tokens: 1000, output_tokens: 10 } }] }),
  );
  const main = new URL('../support/fake-provider/main.ts', import.meta.url).pathname;
  const child = spawn(process.execPath, [main, '--ledger', ledger, '--script', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
    const models = modelsAt(JSON.parse(line) as { anthropicBaseUrl: string; openaiBaseUrl: string });
    assert.equal((await ask(models, requestTo(HAIKU))).answer.text, 'hi');
    assert.equal((await ask(models, requestTo(MINI))).answer.text, 'hi');
    child.kill('SIGKILL');
    await once(child, 'exit');
    const entries = readLedger(ledger);
    assert.deepEqual(
      entries.map(({ api, inputTokens }) => [api, inputTokens]),
      [
        ['anthropic', 1000],
        ['openai', 1000],
      ],
    );
    // The first is surely closed; the last one's end may have been on its way when the process died.
    assert.equal(totalNano(entries.slice(0, 1)), 1000 * 1000 + 10 * 5000);
  } finally {
    child.kill('SIGKILL');
    rmSync(dir, { recursive: true });
  }
});

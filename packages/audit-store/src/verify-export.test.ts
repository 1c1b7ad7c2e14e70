/** The command for an auditor: with nothing but an export, the checkpoints and the public key. */
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import type { ExportVerdict } from '@signalbox/engine';
import { exported, type InWorld, openWorlds, PUBLIC, TS } from '../test/signed-world.ts';

let inWorld: InWorld;
before(async () => {
  inWorld = await openWorlds();
});

describe('the command', () => {
  const MAIN = fileURLToPath(new URL('./verify-export.ts', import.meta.url));
  let dir: string;
  before(async () => {
    dir = await mkdtemp(join(tmpdir(), 'signalbox-verify-'));
  });
  after(() => rm(dir, { recursive: true }));

  const run = async (...args: string[]): Promise<{ code: unknown; out: string }> => {
    const { PATH, NODE_COMPILE_CACHE } = process.env;
    const child = spawn(process.execPath, [MAIN, ...args], { env: { PATH, NODE_COMPILE_CACHE } });
    let out = '';
    child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
    const [code] = await once(child, 'close');
    return { code, out };
  };

  test('needs three files and nothing else, and says where the first bad place is', async () => {
    let lines: string[] = [];
    let line = '';
    await inWorld(async (world) => {
      lines = await exported(world.tx);
      line = world.checkpoints[0] ?? '';
    });
    const pathOf = (name: string): string => join(dir, name);
    const [log, checkpoints, key] = [pathOf('export'), pathOf('checkpoints'), pathOf('key')];
    // A line that a crash tore, and one that came twice.
    await writeFile(checkpoints, [line.slice(0, 50), line, line, ''].join('\n'));
    await writeFile(key, `${PUBLIC}\n`);
    await writeFile(log, `${lines.join('\n')}\n`);
    const whole = await run(log, checkpoints, key);
    assert.equal(whole.code, 0);
    assert.deepEqual(JSON.parse(whole.out), {
      ok: true,
      checked: 18,
      quarantined: 0,
      checkpoints: 1,
      later_checkpoints: 0,
      absent_checkpoints: 0,
      signed_until: TS,
      missing: { count: 0, run_ids: [] },
      departed: 0,
      first_bad: null,
    });
    await writeFile(log, lines.slice(0, -1).join('\n'));
    assert.match((await run(log, checkpoints, key)).out, /it has no last line/);
    await writeFile(log, lines.join('\n').replace('key_2', 'key_3'));
    const bad = await run(log, checkpoints, key);
    assert.equal(bad.code, 1);
    assert.equal((JSON.parse(bad.out) as ExportVerdict).first_bad?.run_id, 'admin_acme');
    assert.equal((await run(log)).code, 2);
    assert.equal((await run(log, checkpoints, key, '--departed-before', 'soon')).code, 2);
    // Of all that is signed only the administration chain is there.
    const [admin = []] = Map.groupBy(lines.slice(0, -1), (text) => text.includes('"admin_')).values();
    await writeFile(log, [...admin, JSON.stringify({ end: true, lines: admin.length })].join('\n'));
    const gone = JSON.parse((await run(log, checkpoints, key)).out) as ExportVerdict;
    assert.deepEqual([gone.ok, gone.missing?.count, gone.departed], [false, 3, 0]);
    const left = await run(log, checkpoints, key, '--departed-before', '9999-01-01');
    const { missing, departed } = JSON.parse(left.out) as ExportVerdict;
    assert.deepEqual([left.code, missing?.count, departed], [0, 0, 3]);
  });
});
